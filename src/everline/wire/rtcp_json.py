"""RTCP as HEP agents send it: JSON by captagent, heplify and rtpengine, in HEP protocol type 5; or binary after all."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from everline.wire.rtcp import (
    ExtendedReport,
    ReceiverReport,
    RtcpDecodeError,
    RtcpFault,
    RtcpPacket,
    RtcpReport,
    SenderInfo,
    SenderReport,
    SourceDescription,
    VoipMetrics,
    decode_rtcp,
    signed_24,
)

# JSON is parsed at this edge, so a value can be anything; nothing of it leaves this module.
_Json = Mapping[str, Any]

MAX_BLOCKS: Final = 31
"""So many report blocks does a packet have: their count has 5 bits (RFC 3550 section 6.4.1)."""
_SENDER_REPORT: Final = 200
_RECEIVER_REPORT: Final = 201
_XR_KEYS: Final = ("report_blocks_xr", "extended_report_information")
"""The first is of heplify and rtpengine, the second of captagent."""


def decode_agent_rtcp(data: bytes) -> tuple[RtcpPacket, ...]:
    """
    Read what an agent sent as RTCP, JSON or binary: RTCP begins with version 2, which no JSON text does.

    Raises:
        RtcpDecodeError: It is neither.
    """
    return decode_rtcp_json(data) if data.lstrip()[:1] == b"{" else decode_rtcp(data)


def decode_rtcp_json(data: bytes) -> tuple[RtcpPacket, ...]:
    """
    Read the JSON shape that HEP agents share; numbers may be text, keys may be missing.

    Gives a sender or receiver report first, then an extended report and a source description if there are any.

    Raises:
        RtcpDecodeError: It is no JSON object.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RtcpDecodeError(RtcpFault.BAD_JSON, offset=getattr(error, "pos", 0)) from error
    if not isinstance(document, dict):
        raise RtcpDecodeError(RtcpFault.BAD_JSON, offset=0)
    ssrc = _number(document, "ssrc") or 0
    packets = [_report_packet(document, ssrc), _extended_report(document, ssrc), _source_description(document)]
    return tuple(packet for packet in packets if packet is not None)


def _report_packet(document: _Json, ssrc: int) -> SenderReport | ReceiverReport | None:
    reports = tuple(_report(block) for block in _objects(document.get("report_blocks"))[:MAX_BLOCKS])
    sender, kind = document.get("sender_information"), _number(document, "type")
    # The type is that of the last packet of a compound one with heplify, which sends zeros for what there was not.
    if isinstance(sender, dict) and (
        kind in {_SENDER_REPORT, None} or (kind != _RECEIVER_REPORT and any(sender.values()))
    ):
        return SenderReport(ssrc, _sender_info(sender), reports)
    if reports or kind in {_SENDER_REPORT, _RECEIVER_REPORT}:
        return ReceiverReport(ssrc, reports)
    return None


def _sender_info(sender: _Json) -> SenderInfo:
    # Agents call the lower half of the NTP time "usec" and mean the fraction as it is on the wire.
    keys = ("ntp_timestamp_sec", "ntp_timestamp_usec", "rtp_timestamp", "packets", "octets")
    return SenderInfo(*(_number(sender, key) or 0 for key in keys))


def _report(block: _Json) -> RtcpReport:
    lost, delay = _number(block, "packets_lost"), _number(block, "dlsr")
    return RtcpReport(
        source_ssrc=_number(block, "source_ssrc") or 0,
        fraction_lost_ratio=_ratio(block, "fraction_lost"),
        packets_lost=None if lost is None else signed_24(lost & 0xFFFFFF),
        highest_seq=_number(block, "highest_seq_no"),
        jitter_ts=_number(block, "ia_jitter"),
        last_sr=_number(block, "lsr"),
        delay_since_last_sr_s=None if delay is None else delay / 65_536,
    )


def _extended_report(document: _Json, ssrc: int) -> ExtendedReport | None:
    """
    The VoIP metrics, if any: heplify sends a block of zeros with every report, which says nothing.

    Only what all agents agree on is read; the rest of a block is theirs alone.
    """
    blocks = [block for key in _XR_KEYS for block in _objects(document.get(key)) if any(block.values())]
    return ExtendedReport(ssrc, tuple(_voip_metrics(block) for block in blocks)) if blocks else None


def _voip_metrics(block: _Json) -> VoipMetrics:
    return VoipMetrics(
        source_ssrc=_number(block, "id", "identifier") or 0,
        loss_ratio=_ratio(block, "fraction_lost", "loss_rate"),
        discard_ratio=_ratio(block, "fraction_discard", "discard_rate"),
        burst_density_ratio=_ratio(block, "burst_density", "burst_rate"),
        gap_density_ratio=_ratio(block, "gap_density", "gap_rate"),
        burst_ms=_number(block, "burst_duration"),
        gap_ms=_number(block, "gap_duration"),
        round_trip_ms=_number(block, "round_trip_delay"),
        end_system_delay_ms=_number(block, "end_system_delay", "end_sys_delay"),
    )


def _source_description(document: _Json) -> SourceDescription | None:
    items = tuple(
        (_number(item, "type") or 0, str(item.get("text", ""))) for item in _objects(document.get("sdes_information"))
    )
    return SourceDescription(((_number(document, "sdes_ssrc") or 0, items),)) if items else None


def _objects(value: object) -> list[_Json]:
    """A list of objects; one object alone counts as a list of it."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _number(source: _Json, *keys: str) -> int | None:
    """The first of the keys that holds an unsigned number of 32 bits (negative ones as agents print them: wrapped)."""
    value = _float(source, *keys)
    return int(value) & 0xFFFFFFFF if value is not None and abs(value) < 1 << 32 else None


def _ratio(source: _Json, *keys: str) -> float | None:
    """A share which agents give as on the wire, in 1/256."""
    value = _float(source, *keys)
    return value / 256 if value is not None and 0 <= value < 256 else None


def _float(source: _Json, *keys: str) -> float | None:
    for key in keys:
        value = source.get(key)
        if isinstance(value, str):
            value = _parse_float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 64:
            return value
    return None


def _parse_float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
