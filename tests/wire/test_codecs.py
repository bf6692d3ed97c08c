"""The codecs an SDP body offers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.codecs import MAX_CODECS, offered_codecs

TWO_MEDIA = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "m=video 4002 RTP/SAVPF 97\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 profile-level-id=42e01f\r\n"
)


def audio(line: str, *attributes: str) -> str:
    """An SDP body with one media line."""
    return "\r\n".join(("v=0", f"m=audio {line}", *attributes, ""))


@pytest.mark.parametrize(
    ("sdp", "expected"),
    [
        pytest.param(
            TWO_MEDIA, "PCMA/8000,PCMU/8000,telephone-event/8000,H264/90000", id="in-the-order-of-media-lines"
        ),
        pytest.param(audio("4000 RTP/AVP 0 9 18"), "PCMU/8000,G722/8000,G729/8000", id="static-types-need-no-rtpmap"),
        pytest.param(audio("4000 RTP/AVP 96 0"), "PCMU/8000", id="a-dynamic-type-without-rtpmap-has-no-name"),
        pytest.param(audio("4000 RTP/AVP 0", "a=rtpmap:96 opus/48000/2"), "PCMU/8000", id="a-name-nobody-offers"),
        pytest.param(audio("4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"), "opus/48000", id="channels-are-left-out"),
        pytest.param(audio("4000 RTP/AVP 0", "a=rtpmap:0 G726-32/8000"), "G726-32/8000", id="rtpmap-outweighs-static"),
        pytest.param(audio("4000/2 RTP/AVP 0"), "PCMU/8000", id="a-range-of-ports"),
        pytest.param(audio("0 RTP/AVP 8"), "PCMA/8000", id="a-rejected-stream-still-names-its-codec"),
        pytest.param(audio("4000 RTP/AVP 0 0 8 0"), "PCMU/8000,PCMA/8000", id="each-once"),
        pytest.param("v=0\nm=audio 4000 RTP/AVP 0\n", "PCMU/8000", id="line-feeds-alone"),
        pytest.param(audio("4000 UDP/TLS/RTP/SAVPF 0"), "PCMU/8000", id="webrtc"),
        pytest.param(audio("4000 udptl t38"), "", id="fax-over-udptl-is-no-codec"),
        pytest.param("", "", id="nothing"),
        pytest.param("v=0\r\nm=audio", "", id="cut-off"),
    ],
)
def test_offered_codecs(sdp: str, expected: str) -> None:
    """Name and clock rate, comma separated, each once (RFC 8866 s.5.14 and 6.6, RFC 3551 s.6)."""
    assert offered_codecs(sdp) == expected


def test_a_longer_list_is_cut() -> None:
    """No phone offers so many: the column stays short whatever a body holds."""
    names = [f"a=rtpmap:{number} C{number}/8000" for number in range(96, 96 + 40)]
    sdp = audio("4000 RTP/AVP " + " ".join(str(number) for number in range(96, 96 + 40)), *names)

    assert offered_codecs(sdp) == ",".join(f"C{number}/8000" for number in range(96, 96 + MAX_CODECS))


@given(st.text(alphabet="\r\nm=audio 019/RTP:rtpmap.-xé", max_size=300) | st.text(max_size=100))
def test_any_text_gives_a_list_of_names(sdp: str) -> None:
    """Nothing is ever raised; every entry has a name and a clock rate."""
    found = offered_codecs(sdp)

    assert all(name.count("/") == 1 for name in found.split(",") if found)
