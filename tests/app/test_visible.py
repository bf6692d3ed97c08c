"""Text of strangers: what can't be seen is shown as a sign, on pages and in drawings."""

import xml.etree.ElementTree as ET
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import ALICE, BOB, TOKEN, message, services_with

from everline.app.call_json import csv_cell
from everline.app.visible import visible
from everline.app.web import create_app
from everline.calls.event import Event

HTML = {"Accept": "text/html"}
EMOJI = "\U0001f4de Ünï"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("+49301 (büro) 日本\t\n", "+49301 (büro) 日本\t\n", id="what-can-be-seen"),
        pytest.param(EMOJI, EMOJI, id="four-bytes"),
        pytest.param("\0a\x1b[31m\x7f", "␀a␛[31m␡", id="control"),
        pytest.param("\x85\x9b", "[U+0085][U+009B]", id="control-of-latin-1"),
        pytest.param("+49\u202e103", "+49[U+202E]103", id="turns-what-follows"),
        pytest.param("a\u2066b\u2069\u061c", "a[U+2066]b[U+2069][U+061C]", id="isolates"),
        pytest.param("+49\u200b30\ufeff", "+49[U+200B]30[U+FEFF]", id="no-width"),
        pytest.param("\ud800x", "[U+D800]x", id="half-a-pair"),
        pytest.param("a\U000e0041", "a[U+E0041]", id="tags"),
    ],
)
def test_what_cannot_be_seen_has_a_sign(text: str, expected: str) -> None:
    """The rest stays as it is."""
    assert visible(text) == expected


ODD = [
    pytest.param("x\u202ey", id="turned"),
    pytest.param("x\0y", id="nul"),
    pytest.param("x\x1b]0;y\x07", id="escape"),
    pytest.param(EMOJI, id="four-bytes"),
    pytest.param("<script>alert(1)</script>", id="script"),
    pytest.param("]]><x>&amp;", id="xml"),
]


def odd_call(odd: str) -> list[Event]:
    """A call in which the caller says it wherever a caller can."""
    one = message("INVITE", call_id=f"{odd}@x", user_agent=odd, caller=odd, callee=odd, agent=odd)
    return [one, message(486, 10, call_id=f"{odd}@x", ends=(BOB, ALICE), to_tag="b", caller=odd, callee=odd)]


@pytest.mark.parametrize("odd", ODD)
def test_odd_text_is_shown_as_text_everywhere(odd: str) -> None:
    """On pages with its signs, in a drawing that is whole XML, in JSON as it is."""
    client = TestClient(create_app(services_with(odd_call(odd))), headers={"Authorization": f"Bearer {TOKEN}"})
    path = quote(f"{odd}@x", safe="")

    for page in ("/calls", f"/calls/{path}"):
        text = client.get(page, headers=HTML).text
        assert all(sign not in text for sign in ("\u202e", "\0", "\x1b", "<script>alert"))
    drawing = client.get(f"/api/v1/ladder/{path}?format=svg")
    ET.fromstring(drawing.text)  # noqa: S314 - our own, and its being whole is the question
    assert client.get(f"/api/v1/calls/{path}").json()["caller"] == odd
    assert all(sign not in client.get(f"/api/v1/ladder/{path}").text for sign in ("\u202e", "\0", "\x1b"))

    name = drawing.headers["content-disposition"]
    assert name.isascii()
    assert name.isprintable()
    assert name.count('"') == 2


def test_bytes_that_are_no_text_are_shown() -> None:
    """A user agent that is not UTF-8, in the message as it came."""
    raw = message("INVITE")
    raw = raw._replace(payload=raw.payload.replace(b"User-Agent: ", b"User-Agent: \xff\xfe\xc3("))
    client = TestClient(create_app(services_with([raw])), headers={"Authorization": f"Bearer {TOKEN}"})

    assert "\ufffd\ufffd\ufffd(" in client.get("/calls/call-1@test", headers=HTML).text
    assert "\ufffd" in client.get("/api/v1/messages/call-1@test").json()[0]["payload"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1234", "'=1234"), ("-2+3", "'-2+3"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"),
        ("\uff1dcmd|x", "'\uff1dcmd|x"), ("\uff20SUM(1)", "'\uff20SUM(1)"), ("+49301", "+49301"), ("a=1", "a=1"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    """Also not by what some programs take for its sign; a plain number stays."""
    assert csv_cell(text) == cell
