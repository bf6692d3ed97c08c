"""What is done about each error."""

import struct

import pytest
from clickhouse_driver import errors

from everline.store.errors import StoreError
from everline.store.fault_codes import ACTS, KNOWN, Act, act_on, reason_of
from everline.store.spool import SpoolFullError


def test_every_code_has_one_act() -> None:
    """One table, without contradictions."""
    assert len(ACTS) == sum(map(len, KNOWN.values()))
    assert set(KNOWN) == set(Act)


def test_codes_have_the_names_that_clickhouse_gives_them() -> None:
    """As the driver knows them."""
    names = {value: name for name, value in vars(errors.ErrorCodes).items() if isinstance(value, int)}
    for codes in KNOWN.values():
        for code, name in codes.items():
            assert names.get(code, name.partition(":")[0]) == name.partition(":")[0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(StoreError("x", code=242), Act.ELSEWHERE, id="read-only"),
        pytest.param(StoreError("x", code=210), Act.AGAIN, id="hung-up"),
        pytest.param(StoreError("x", code=209), Act.ELSEWHERE, id="no-answer"),
        pytest.param(StoreError("x", code=62), Act.SPOOL, id="our-statement-is-wrong"),
        pytest.param(StoreError("x", code=53), Act.REJECT, id="a-value-of-another-type"),
        pytest.param(StoreError("x", code=987_654), Act.ELSEWHERE, id="never-heard-of"),
        pytest.param(StoreError("x"), Act.ELSEWHERE, id="no-code"),
        pytest.param(EOFError(), Act.AGAIN, id="hung-up-untranslated"),
        pytest.param(ConnectionResetError(), Act.AGAIN, id="reset"),
        pytest.param(TimeoutError(), Act.ELSEWHERE, id="socket-timeout"),
        pytest.param(errors.NetworkError("x"), Act.AGAIN, id="driver-network"),
        pytest.param(errors.SocketTimeoutError("x"), Act.ELSEWHERE, id="driver-timeout"),
        pytest.param(errors.TypeMismatchError("x"), Act.REJECT, id="driver-type"),
        pytest.param("\ud800", Act.REJECT, id="no-unicode"),
        pytest.param(struct.error("x"), Act.REJECT, id="does-not-fit"),
        pytest.param(TypeError("x"), Act.REJECT, id="nothing-where-a-text-belongs"),
        pytest.param(OSError(113, "No route to host"), Act.ELSEWHERE, id="no-route"),
        pytest.param(RuntimeError("x"), Act.ELSEWHERE, id="a-defect"),
    ],
)
def test_what_is_done(error: Exception | str, expected: Act) -> None:
    """By the code of a translated error, by the kind of another."""
    if isinstance(error, str):
        with pytest.raises(UnicodeEncodeError) as raised:
            error.encode()
        error = raised.value

    assert act_on(error) is expected


def test_reasons_are_short_names() -> None:
    """They label a counter: nothing of the row is in them."""
    assert reason_of(StoreError("secret", code=53)) == "type_mismatch"
    assert reason_of(StoreError("secret", code=210)) == "network_error"
    assert reason_of(StoreError("secret", code=987_654)) == "code_987654"
    assert reason_of(TypeError("secret")) == "TypeError"
    assert reason_of(SpoolFullError.__new__(SpoolFullError, "secret")) == "SpoolFullError"
