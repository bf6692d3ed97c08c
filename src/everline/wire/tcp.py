"""Put TCP segments together into streams, one for each direction (RFC 9293), from what a capture has of them."""

import struct
from bisect import bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from everline.wire.ip import IpPayload
from everline.wire.loss import Loss

_FIN, _SYN, _RST = 1, 2, 4
_SEQ_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_WINDOW_BYTES: Final = 16 * 1024 * 1024
"""A segment farther away belongs to another connection on the same ports, whose SYN was not captured."""
_MAX_STREAM_BYTES: Final = 256 * 1024
_MAX_STREAM_SEGMENTS: Final = 1_024
_MAX_HELD_BYTES: Final = 64 * 1024 * 1024
_MAX_STREAMS: Final = 65_536
_GAP_US: Final = 5_000_000
"""A hole older than this was never captured: a sender would have repeated it some four times."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a connection; addresses are 4 or 16 bytes."""

    src: bytes
    src_port: int
    dst: bytes
    dst_port: int


class StreamMark(Enum):
    """What a piece says of its stream, beside bringing data."""

    DATA = "data"
    CUT = "cut"
    """Bytes are missing before this piece."""
    END = "end"
    """Nothing more will come."""


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """
    The next bytes of a stream.

    Attributes:
        flow: Which stream.
        captured_us: When the last of all bytes up to here was captured.
        mark: What happened to the stream.
        data: May be empty for CUT and END.
    """

    flow: Flow
    captured_us: int
    mark: StreamMark
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class _Segment:
    captured_us: int
    seq: int
    flags: int
    data: bytes
    cut_bytes: int

    @property
    def size(self) -> int:
        """How much of the stream it was when it was sent."""
        return len(self.data) + self.cut_bytes


@dataclass(slots=True)
class _Stream:
    """
    One direction. Positions count from the first byte that was expected and never wrap.

    An ended stream is remembered, so that a late retransmission does not look like a new one.
    """

    next_seq: int  # The sequence number of `position`.
    has_syn: bool
    position: int = 0
    captured_us: int = 0
    end: int | None = None  # Position of the FIN.
    has_ended: bool = False
    held: int = 0
    gap_since_us: int = 0
    starts: list[int] = field(default_factory=list)  # Sorted; beside them the segments which wait.
    segments: list[_Segment] = field(default_factory=list)

    def move(self, count: int) -> None:
        """Go on by so many bytes."""
        self.position += count
        self.next_seq = (self.next_seq + count) & _SEQ_MASK

    def is_left_by(self, segment: _Segment, seq: int) -> bool:
        """Whether a segment opens, or belongs to, a later connection on the same ports."""
        distance = _distance(seq, self.next_seq)
        start = self.position + distance
        if segment.flags & _SYN:
            return start != 0 if self.has_syn else self.has_ended or not -_WINDOW_BYTES < start <= 0
        return abs(distance) > _WINDOW_BYTES or (self.has_ended and distance >= 0 and segment.size > 0)


class TcpStreams:
    """
    Feed TCP packets, get the bytes of each direction in order.

    Without a SYN a stream begins with its first captured segment. Of bytes sent twice, the first copy counts.
    A hole is given up when it is old or when too much waits behind it; memory is bounded per stream and in all.

    Args:
        counts: Where what gives nothing is counted, by `Loss`.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._streams: OrderedDict[Flow, _Stream] = OrderedDict()
        self._waiting: OrderedDict[Flow, None] = OrderedDict()  # Streams with a hole, the oldest hole first.
        self._held_bytes = 0

    def feed(self, payload: IpPayload) -> list[StreamPiece]:
        """Take one TCP packet; give what it adds to its stream, and what its time ends in other streams."""
        data = payload.data
        header = (data[12] >> 4) * 4 if len(data) >= 20 else 0
        if header < 20 or header > len(data):
            self._counts[Loss.BAD_TCP] += 1
            return []
        src_port, dst_port, seq = struct.unpack_from("!HHI", data)
        flow = Flow(payload.src, src_port, payload.dst, dst_port)
        segment = _Segment(payload.captured_us, seq, data[13], data[header:], payload.cut_bytes)
        return self._expire(segment.captured_us) + self._segment(flow, segment) + self._evict()

    def flush(self) -> list[StreamPiece]:
        """The capture is over: give what waits behind holes, and end every stream."""
        pieces: list[StreamPiece] = []
        for flow, stream in self._streams.items():
            pieces += self._end(flow, stream)
        self._streams.clear()
        return pieces

    def _segment(self, flow: Flow, segment: _Segment) -> list[StreamPiece]:
        pieces: list[StreamPiece] = []
        is_syn = bool(segment.flags & _SYN)
        seq = segment.seq + 1 if is_syn else segment.seq
        stream = self._streams.get(flow)
        if segment.flags & _RST:
            return self._end(flow, stream) if stream else []
        if stream and stream.is_left_by(segment, seq):
            pieces += self._end(flow, stream)
            stream = None
        if stream and stream.has_ended:
            self._counts[Loss.TCP_RETRANSMITTED] += 1
            return pieces
        if stream is None:
            if not segment.size and not is_syn:
                return pieces  # A bare acknowledgement: the data before it is in the past.
            stream = self._streams[flow] = _Stream(next_seq=seq & _SEQ_MASK, has_syn=is_syn)
        self._streams.move_to_end(flow)
        start = stream.position + _distance(seq, stream.next_seq)
        if segment.flags & _FIN:
            stream.end = start + segment.size
        if segment.size:
            self._insert(stream, start, segment)
        return pieces + self._advance(flow, stream, segment.captured_us)

    def _insert(self, stream: _Stream, start: int, segment: _Segment) -> None:
        """Put a segment among those that wait; what is known already is dropped when it is its turn."""
        at = bisect_right(stream.starts, start)
        is_copy = at and stream.starts[at - 1] == start and stream.segments[at - 1].data == segment.data
        if start + segment.size <= stream.position or is_copy:
            self._counts[Loss.TCP_RETRANSMITTED] += 1
            return
        if not stream.starts:
            stream.gap_since_us = segment.captured_us
        stream.starts.insert(at, start)
        stream.segments.insert(at, segment)
        stream.held += len(segment.data)
        self._held_bytes += len(segment.data)

    def _advance(self, flow: Flow, stream: _Stream, now_us: int) -> list[StreamPiece]:
        """Give what is in order by now, and what is behind holes as long as a bound is broken."""
        pieces = self._drain(flow, stream)
        while stream.starts and self._must_skip(stream, now_us):
            pieces += self._skip_gap(flow, stream)
        if not stream.starts:
            self._waiting.pop(flow, None)
        elif pieces or flow not in self._waiting:
            self._waiting[flow] = None
            self._waiting.move_to_end(flow)
        if stream.end is not None and stream.position >= stream.end:
            pieces += self._end(flow, stream)
        return pieces

    def _must_skip(self, stream: _Stream, now_us: int) -> bool:
        return (
            stream.held > _MAX_STREAM_BYTES
            or len(stream.starts) > _MAX_STREAM_SEGMENTS
            or self._held_bytes > _MAX_HELD_BYTES
            or now_us - stream.gap_since_us > _GAP_US
        )

    def _skip_gap(self, flow: Flow, stream: _Stream) -> list[StreamPiece]:
        self._counts[Loss.TCP_GAP] += 1
        stream.move(stream.starts[0] - stream.position)
        return [StreamPiece(flow, stream.captured_us, StreamMark.CUT), *self._drain(flow, stream)]

    def _drain(self, flow: Flow, stream: _Stream) -> list[StreamPiece]:
        """Give the segments up to the first hole."""
        pieces: list[StreamPiece] = []
        taken = 0
        for start, segment in zip(stream.starts, stream.segments, strict=True):
            if start > stream.position:
                stream.gap_since_us = segment.captured_us
                break
            taken += 1
            stream.held -= len(segment.data)
            self._held_bytes -= len(segment.data)
            if start + segment.size <= stream.position:
                self._counts[Loss.TCP_RETRANSMITTED] += 1
                continue
            stream.captured_us = max(stream.captured_us, segment.captured_us)
            fresh = segment.data[stream.position - start :]
            stream.move(start + segment.size - stream.position)
            pieces.append(StreamPiece(flow, stream.captured_us, StreamMark.DATA, fresh))
            if segment.cut_bytes:
                pieces.append(StreamPiece(flow, stream.captured_us, StreamMark.CUT))
        del stream.starts[:taken], stream.segments[:taken]
        return pieces

    def _expire(self, now_us: int) -> list[StreamPiece]:
        """Give up the holes that are too old, in whatever stream."""
        pieces: list[StreamPiece] = []
        while self._waiting:
            flow = next(iter(self._waiting))
            if now_us - self._streams[flow].gap_since_us <= _GAP_US:
                break
            pieces += self._advance(flow, self._streams[flow], now_us)
        return pieces

    def _evict(self) -> list[StreamPiece]:
        if len(self._streams) <= _MAX_STREAMS:
            return []
        flow, stream = self._streams.popitem(last=False)
        if not stream.has_ended:
            self._counts[Loss.TCP_EVICTED] += 1
        return self._end(flow, stream)

    def _end(self, flow: Flow, stream: _Stream) -> list[StreamPiece]:
        """End a stream once; what waits behind holes is given first."""
        if stream.has_ended:
            return []
        pieces: list[StreamPiece] = []
        while stream.starts:
            pieces += self._skip_gap(flow, stream)
        self._waiting.pop(flow, None)
        stream.has_ended = True
        return [*pieces, StreamPiece(flow, stream.captured_us, StreamMark.END)]


def _distance(seq: int, reference: int) -> int:
    """How far a sequence number is from another, -2^31 .. 2^31-1 (RFC 9293 section 3.4)."""
    return ((seq - reference + _HALF) & _SEQ_MASK) - _HALF
