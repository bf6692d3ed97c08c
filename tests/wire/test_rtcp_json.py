"""RTCP as agents send it: the JSON of captagent, heplify and rtpengine."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.rtcp import (
    ExtendedReport,
    ReceiverReport,
    RtcpDecodeError,
    RtcpFault,
    RtcpReport,
    SenderInfo,
    SenderReport,
    SourceDescription,
    VoipMetrics,
)
from everline.wire.rtcp_json import decode_agent_rtcp, decode_rtcp_json

SENDER = {"ntp_timestamp_sec": 1, "ntp_timestamp_usec": 2, "rtp_timestamp": 3, "packets": 4, "octets": 5}
BLOCK = {
    "source_ssrc": 9, "fraction_lost": 64, "packets_lost": 25, "highest_seq_no": 70_000, "ia_jitter": 160,
    "lsr": 6, "dlsr": 98_304,
}  # fmt: skip
RECEIVED = RtcpReport(9, 0.25, 25, 70_000, 160, 6, 1.5)
UNKNOWN = RtcpReport(0, None, None, None, None, None, None)
XR = {
    "type": 7, "id": 9, "fraction_lost": 64, "fraction_discard": 128, "burst_density": 0, "gap_density": 32,
    "burst_duration": 120, "gap_duration": 5000, "round_trip_delay": 80, "end_system_delay": 40,
}  # fmt: skip
CAPTAGENT_XR = {
    "type": 7, "identifier": 9, "loss_rate": 64, "discard_rate": 128, "burst_rate": 0, "gap_rate": 32,
    "burst_duration": 120, "gap_duration": 5000, "round_trip_delay": 80, "end_sys_delay": 40, "MOS_LQ": 41,
}  # fmt: skip
METRICS = VoipMetrics(9, 0.25, 0.5, 0.0, 0.125, 120, 5000, 80, 40)
FULL = {
    "ssrc": 7, "type": 200, "report_count": 1, "sender_information": SENDER, "report_blocks": [BLOCK],
    "report_blocks_xr": XR, "sdes_ssrc": 7, "sdes_information": [{"type": 1, "text": "a@b"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            FULL,
            (
                SenderReport(7, SenderInfo(1, 2, 3, 4, 5), (RECEIVED,)),
                ExtendedReport(7, (METRICS,)),
                SourceDescription(((7, ((1, "a@b"),)),)),
            ),
            id="everything",
        ),
        pytest.param(
            {"ssrc": "7", "type": "201", "report_blocks": [{key: str(value) for key, value in BLOCK.items()}]},
            (ReceiverReport(7, (RECEIVED,)),),
            id="numbers-as-text",
        ),
        pytest.param({"type": 201}, (ReceiverReport(0, ()),), id="no-blocks"),
        pytest.param(
            {"ssrc": 7, "type": 202, "sender_information": SENDER, "report_blocks": [BLOCK]},
            (SenderReport(7, SenderInfo(1, 2, 3, 4, 5), (RECEIVED,)),),
            id="the-type-of-the-last-packet-of-a-compound-one",
        ),
        pytest.param(
            {"ssrc": 7, "type": 202, "sender_information": dict.fromkeys(SENDER, 0), "report_blocks": [BLOCK]},
            (ReceiverReport(7, (RECEIVED,)),),
            id="no-sender-information-but-zeros",
        ),
        pytest.param({"report_blocks": [{}]}, (ReceiverReport(0, (UNKNOWN,)),), id="what-is-missing-stays-unknown"),
        pytest.param({"report_blocks": BLOCK}, (ReceiverReport(0, (RECEIVED,)),), id="one-block-without-a-list"),
        pytest.param(
            {"report_blocks": [{"packets_lost": 0xFFFFFE}, {"packets_lost": -2}, {"packets_lost": 0xFFFFFFFE}]},
            (ReceiverReport(0, (RtcpReport(0, None, -2, None, None, None, None),) * 3),),
            id="duplicates-make-losses-negative-however-printed",
        ),
        pytest.param(
            {
                "report_blocks": [
                    {"ia_jitter": True, "lsr": "x", "dlsr": None, "highest_seq_no": 1e300, "fraction_lost": []}
                ]
            },
            (ReceiverReport(0, (UNKNOWN,)),),
            id="what-is-no-number-stays-unknown",
        ),
        pytest.param(
            {"ssrc": 7, "extended_report_information": CAPTAGENT_XR},
            (ExtendedReport(7, (METRICS,)),),
            id="captagent-xr",
        ),
        pytest.param(
            {"type": 201, "report_blocks_xr": dict.fromkeys(XR, 0)}, (ReceiverReport(0, ()),), id="xr-of-zeros"
        ),
        pytest.param({"type": 207}, (), id="nothing-of-use"),
    ],
)
def test_documents_of_agents(document: object, expected: tuple[object, ...]) -> None:
    """Tolerant of text for numbers and of missing keys; a missing fact is None, never 0."""
    assert decode_rtcp_json(json.dumps(document).encode()) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b"[" * 100_000, id="too-deep"),
        pytest.param(b'{"ssrc": ' + b"9" * 5000 + b"}", id="a-number-too-long"),
        pytest.param(b"\xff{}", id="no-text"),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """The own error, with a reason that labels a counter."""
    with pytest.raises(RtcpDecodeError) as caught:
        decode_rtcp_json(data)

    assert caught.value.reason is RtcpFault.BAD_JSON


def test_binary_and_json_are_told_apart_by_the_first_byte() -> None:
    """HEP protocol type 5 is used for both."""
    assert decode_agent_rtcp(b"\x80\xc9\0\1\0\0\0\7") == decode_agent_rtcp(b' {"type": 201, "ssrc": 7}')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, *BLOCK, *SENDER]), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*FULL, *CAPTAGENT_XR]), VALUES))
def test_any_values_under_known_keys_give_packets(document: dict[str, object]) -> None:
    """The shape of the JSON is the agent's; no shape makes us fail."""
    decode_rtcp_json(json.dumps(document).encode())


@given(at=st.integers(0, 1000), value=st.integers(0, 255))
def test_any_damage_gives_packets_or_the_own_error(at: int, value: int) -> None:
    """Every truncation and every changed byte."""
    data = json.dumps(FULL).encode()
    at %= len(data)
    for damaged in (data[:at], data[:at] + bytes([value]) + data[at + 1 :]):
        try:
            decode_agent_rtcp(damaged)
        except RtcpDecodeError:
            continue


def test_no_more_blocks_are_read_than_a_packet_can_have() -> None:
    """Their count has five bits on the wire."""
    [report] = decode_rtcp_json(json.dumps({"type": 201, "report_blocks": [BLOCK] * 100}).encode())

    assert report == ReceiverReport(0, (RECEIVED,) * 31)
