"""When a server is given a batch."""

import pytest

from everline.store.circuit import FIRST_PAUSE_S, LONGEST_PAUSE_S, Circuit, CircuitState


def test_a_server_that_works_is_given_anything() -> None:
    """From the start."""
    circuit = Circuit()
    circuit.began(0)
    circuit.began(0)

    assert circuit.state(0) is CircuitState.CLOSED


def test_a_failure_opens_it_for_a_pause() -> None:
    """Then one batch shows whether the server is back, and no second one is let through meanwhile."""
    circuit = Circuit()
    circuit.failed(10, chance=1)

    assert circuit.state(10.1) is CircuitState.OPEN
    assert circuit.state(10.21) is CircuitState.HALF_OPEN
    circuit.began(10.21)
    assert circuit.state(10.21) is CircuitState.OPEN
    assert circuit.state(99) is CircuitState.OPEN


def test_one_success_closes_it() -> None:
    """And the next failure has a short pause again."""
    circuit = Circuit()
    for at_s in range(0, 50, 10):
        circuit.failed(at_s, chance=1)
    circuit.began(60)
    circuit.succeeded()

    assert circuit.state(60) is CircuitState.CLOSED
    circuit.failed(60, chance=1)
    assert circuit.state(60 + 2 * FIRST_PAUSE_S) is CircuitState.HALF_OPEN


def test_pauses_grow_to_their_bound() -> None:
    """Twice as long each time."""
    circuit = Circuit()
    pauses_s = []
    for failure in range(1, 40):
        at_s = failure * 10.0
        circuit.failed(at_s, chance=1)
        pauses_s.append(
            round(next(n for n in range(3000) if circuit.state(at_s + n / 1000) is not CircuitState.OPEN), -1)
        )

    assert pauses_s[:5] == [200, 400, 800, 1600, 2000]
    assert set(pauses_s[5:]) == {LONGEST_PAUSE_S * 1000}
    assert circuit.failures == 39


def test_how_much_of_a_pause_is_left_to_chance() -> None:
    """Full jitter: from none to all of it."""
    circuit = Circuit()
    circuit.failed(0, chance=0)

    assert circuit.state(0) is CircuitState.HALF_OPEN


def test_batches_that_fail_together_are_one_failure() -> None:
    """A server that dies under three batches is not punished thrice."""
    circuit = Circuit()
    for _ in range(3):
        circuit.failed(0, chance=1)

    assert circuit.state(2.1 * FIRST_PAUSE_S) is CircuitState.HALF_OPEN
    assert circuit.failures == 3


def test_a_server_that_is_late_is_given_nothing_more() -> None:
    """Until all that was late has ended."""
    circuit = Circuit()
    circuit.overdue()
    circuit.overdue()
    circuit.answered()

    assert circuit.state(0) is CircuitState.BUSY
    circuit.answered()
    assert circuit.state(0) is CircuitState.CLOSED


@pytest.mark.parametrize("end", ["succeeded", "spared", "failed"])
def test_a_probe_that_ended_lets_the_next_one_through(end: str) -> None:
    """However it ended; a batch that was refused for its rows told nothing about the server."""
    circuit = Circuit()
    circuit.failed(0, chance=0)
    circuit.began(1)
    if end == "failed":
        circuit.failed(1, chance=0)
    else:
        getattr(circuit, end)()

    assert circuit.state(1) is (CircuitState.CLOSED if end == "succeeded" else CircuitState.HALF_OPEN)
