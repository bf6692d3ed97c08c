"""
RTCP for the calls of the sample, which holds signalling alone.

Nobody spoke on these calls, so their media is made up, the same at every start: what an RTP relay would tell of both
directions of each answered call, in the JSON that rtpengine and captagent send. Most streams are well, some lose
packets, all of it within the numbers of packets that so long a talk has.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.event import RTCP, Event
from everline.calls.facts import facts_of
from everline.calls.record import is_call, record_of
from everline.wire.hep import encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket
from everline.wire.sdp import parse_sdp

AGENT: Final = b"relay-1"
EVERY_US: Final = 2_500_000
"""The first report of a stream comes about so early (RFC 3550 section 6.2); for short talks all of them do."""
PACKETS_PER_S: Final = 50
CLOCK_HZ: Final = 8000
LOSSES: Final = ((0.0, 12), (0.004, 5), (0.02, 1), (0.04, 1), (0.12, 1))
"""What a stream loses, and how many of twenty do."""
UNIX_TO_NTP_S: Final = 2_208_988_800

End = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction: its source, its ends, what it loses, how far its far end is, and its sequence number at first."""

    ssrc: int
    source: End
    target: End
    loss: float
    jitter_ms: float
    far_us: int
    first_seq: int


def made_up_reports(sample: Iterable[bytes]) -> Iterator[bytes]:
    """The RTCP of the calls in these HEP datagrams, as HEP."""
    batch = decode_batch((Datagram(data, 2**62, "", 0) for data in sample), DecodeRules("", max_age_us=2**63)).batch
    by_call: dict[str, list[Event]] = {}
    for event in batch.events():
        by_call.setdefault(event.call_id, []).append(event)
    for call_id, events in sorted(by_call.items()):
        facts = facts_of(events)
        ends = list(dict.fromkeys(end for event in events if event.codecs and (end := _media_end(event))))
        if len(ends) >= 2 and is_call(facts):
            record = record_of(call_id, facts)
            if record.answered_us and record.ended_us:
                yield from _of_call(call_id, (ends[0], ends[1]), record.answered_us, record.ended_us)


def _media_end(event: Event) -> End | None:
    """Where RTCP of the described medium goes: the port after that of RTP (RFC 3550 section 11)."""
    media = parse_sdp(event.payload.partition(b"\r\n\r\n")[2]).media
    return (media[0].address, media[0].port + 1) if media and media[0].port else None


def _of_call(call_id: str, ends: tuple[End, End], answered_us: int, ended_us: int) -> Iterator[bytes]:
    chance = Random(call_id)  # noqa: S311 - the same at every start, not secret
    there, back = _way(chance, ends[0], ends[1]), _way(chance, ends[1], ends[0])
    times = [*range(answered_us + EVERY_US, ended_us, EVERY_US), ended_us]
    for before_us, at_us in pairwise((answered_us, *times)):
        for own, other in ((there, back), (back, there)):
            document = _report(own, other, chance, (answered_us, before_us, at_us))
            packet = CapturedPacket(at_us + own.far_us // 2, IPPROTO_UDP, *own.source, *own.target, document)
            yield encode_hep3(packet, protocol=RTCP, node_name=AGENT, correlation_id=call_id.encode())


def _way(chance: Random, source: End, target: End) -> _Way:
    losses, weights = zip(*LOSSES, strict=True)
    [loss] = chance.choices(losses, weights)
    jitter_ms = chance.uniform(1, 6) + 200 * loss
    return _Way(
        chance.getrandbits(32), source, target, loss, jitter_ms, chance.randrange(4_000, 60_000), chance.getrandbits(16)
    )


def _report(own: _Way, other: _Way, chance: Random, times: tuple[int, int, int]) -> bytes:
    """A sender report of one end, with what it received since the one before."""
    answered_us, before_us, at_us = times
    sent, earlier = (_packets(answered_us, until_us) for until_us in (at_us, before_us))
    lost, lost_earlier = round(sent * other.loss), round(earlier * other.loss)
    ntp_s, fraction = _ntp(at_us)
    last_s, last_fraction = _ntp(before_us)
    has_last = before_us > answered_us
    # The relay saw the other end's report half of the way after it was sent.
    delay_us = at_us - before_us - other.far_us // 2 - own.far_us // 2
    block = {
        "source_ssrc": other.ssrc,
        "fraction_lost": 256 * (lost - lost_earlier) // max(sent - earlier, 1),
        "packets_lost": lost,
        "highest_seq_no": other.first_seq + sent,
        "ia_jitter": round(other.jitter_ms * chance.uniform(0.7, 1.3) * CLOCK_HZ / 1000),
        "lsr": (last_s & 0xFFFF) << 16 | last_fraction >> 16 if has_last else 0,
        "dlsr": delay_us * 65_536 // 1_000_000 if has_last else 0,
    }
    sender = {
        "ntp_timestamp_sec": ntp_s,
        "ntp_timestamp_usec": fraction,
        "rtp_timestamp": sent * CLOCK_HZ // PACKETS_PER_S,
        "packets": sent,
        "octets": sent * CLOCK_HZ // PACKETS_PER_S,
    }
    document = {"ssrc": own.ssrc, "type": 200, "report_count": 1, "sender_information": sender}
    return json.dumps(document | {"report_blocks": [block], "sdes_ssrc": own.ssrc}).encode()


def _packets(since_us: int, until_us: int) -> int:
    return (until_us - since_us) * PACKETS_PER_S // 1_000_000


def _ntp(at_us: int) -> tuple[int, int]:
    seconds, us = divmod(at_us, 1_000_000)
    return seconds + UNIX_TO_NTP_S, (us << 32) // 1_000_000
