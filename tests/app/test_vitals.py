"""A node without pages still tells machines how it is."""

from starlette.testclient import TestClient

from everline.app.vitals import create_vitals_app


def test_a_ready_node_says_so() -> None:
    """And gives its metrics; there is nothing else."""
    client = TestClient(create_vitals_app(list, lambda: "everline_up 1\n"))

    assert (client.get("/livez").status_code, client.get("/readyz").text) == (200, "ready\n")
    assert client.get("/metrics").text == "everline_up 1\n"
    assert client.get("/api/v1/calls").status_code == 404


def test_a_node_that_is_not_ready_says_why() -> None:
    """Every reason on a line of its own, and a status that balancers understand."""
    answer = TestClient(create_vitals_app(lambda: ["the spool is full", "it is stopping"], str)).get("/readyz")

    assert (answer.status_code, answer.text) == (503, "the spool is full\nit is stopping\n")
