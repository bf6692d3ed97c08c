"""Every fault of the table, one after another, on one lab of two regions and a witness."""

import re
from pathlib import Path

import pytest
from tests.faults.fault import Fault
from tests.faults.site import Site
from tests.faults.surviving import survive
from tests.faults.table import FAULTS

from everline.drill.report import DrillResult

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-regions-and-witness.yaml"
CLUSTER_YAML = re.sub(r"balancer: , |balancer: [0-9.]+, |^ +balancer:\n", "", EXAMPLE.read_text(), flags=re.MULTILINE)
"""Agents send to the ingest nodes themselves here: what balancers do has a lab of its own."""


@pytest.mark.faults
@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
async def test_the_cluster_survives(fault: Fault, site: Site, results: list[DrillResult]) -> None:
    """Recovered in time; nothing lost, nothing twice, records equal to what was sent."""
    await survive(fault, site, results)
