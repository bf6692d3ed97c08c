"""Every fault of the table, one after another, on one lab of two regions and a witness."""

import pytest
from tests.faults.fault import Fault
from tests.faults.site import Site
from tests.faults.surviving import survive
from tests.faults.table import FAULTS

from everline.drill.report import DrillResult

pytestmark = pytest.mark.parametrize("lab", ["two-regions-and-witness"], indirect=True, scope="module")


@pytest.mark.faults
@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
async def test_the_cluster_survives(fault: Fault, site: Site, results: list[DrillResult]) -> None:
    """Recovered in time; nothing lost, nothing twice, records equal to what was sent."""
    await survive(fault, site, results)
