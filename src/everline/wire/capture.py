"""The SIP messages of a capture: SIP is known by its content, on any port, over UDP and TCP."""

import re
from collections import Counter, OrderedDict
from typing import Final

from everline.wire.frame import Frame
from everline.wire.framing import START_LINE, FramingLoss, SipFramer
from everline.wire.hep_framing import GZIP_MAGIC, HEP3_MAGIC, HepFramer
from everline.wire.ip import IpPayload, IpReader, address_text
from everline.wire.loss import Loss
from everline.wire.packet import IPPROTO_TCP, IPPROTO_UDP, CapturedPacket
from everline.wire.tcp import Flow, StreamMark, StreamPiece, TcpStreams

_SIP_DATAGRAM: Final = re.compile(rb"[\r\n]*" + START_LINE.pattern)
_MAX_PENDING_BYTES: Final = 64 * 1024 * 1024
_DEFLATE_IN_GZIP: Final = GZIP_MAGIC + b"\x08"


def is_hep(packet: CapturedPacket) -> bool:
    """Whether a packet holds a HEP3 frame, from traffic between capture agent and collector, instead of SIP."""
    return packet.payload.startswith(HEP3_MAGIC)


class SipExtractor:
    """
    Feed the frames of a capture, get its SIP messages and HEP3 packets (see `is_hep`), each with its addresses.

    A UDP datagram is one message; TCP streams are cut by Content-Length. Memory is bounded however long the capture.

    Attributes:
        losses: What gave nothing, by `Loss`; in frames, datagrams or segments as said there.
        lost_bytes: Bytes of TCP streams that were part of no message, by reason.
    """

    def __init__(self) -> None:
        self.losses: Counter[str] = Counter()
        self.lost_bytes: Counter[FramingLoss] = Counter()
        self._ip = IpReader(self.losses)
        self._tcp = TcpStreams(self.losses)
        self._framers: dict[Flow, _StreamFramer] = {}
        self._pending: OrderedDict[Flow, int] = OrderedDict()  # Bytes held for a flow, the longest idle first.
        self._pending_bytes = 0

    def feed(self, frame: Frame) -> list[CapturedPacket]:
        """Take one frame; give the messages that it completes, timed by the frame that completed each."""
        payload = self._ip.feed(frame)
        if payload is None:
            return []
        if payload.cut_bytes:
            self.losses[Loss.TRUNCATED] += 1
        if payload.ip_proto == IPPROTO_UDP:
            return self._datagram(payload)
        if payload.ip_proto == IPPROTO_TCP:
            return self._stream_packets(self._tcp.feed(payload))
        self.losses[Loss.NOT_UDP_OR_TCP] += 1
        return []

    def flush(self) -> list[CapturedPacket]:
        """The capture is over: give what waited behind holes in streams, and count what stayed incomplete."""
        self._ip.flush()
        return self._stream_packets(self._tcp.flush())

    def _datagram(self, payload: IpPayload) -> list[CapturedPacket]:
        data = payload.data
        size = int.from_bytes(data[4:6], "big") or len(data)  # 0: longer than 65,535 bytes (RFC 2675).
        if len(data) < 8 or not 8 <= size <= len(data) + payload.cut_bytes:
            self.losses[Loss.BAD_UDP] += 1
            return []
        text = data[8:size]
        if not text.startswith(HEP3_MAGIC) and not _SIP_DATAGRAM.match(text):
            self.losses[Loss.NOT_SIP] += 1
            return []
        src_port, dst_port = int.from_bytes(data[0:2], "big"), int.from_bytes(data[2:4], "big")
        flow = Flow(payload.src, src_port, payload.dst, dst_port)
        return [_packet(flow, text, ip_proto=IPPROTO_UDP, captured_us=payload.captured_us)]

    def _stream_packets(self, pieces: list[StreamPiece]) -> list[CapturedPacket]:
        packets: list[CapturedPacket] = []
        for piece in pieces:
            framer = self._framers.get(piece.flow) or _StreamFramer(self.lost_bytes)
            packets += [
                _packet(piece.flow, message, ip_proto=IPPROTO_TCP, captured_us=piece.captured_us)
                for message in framer.take(piece)
            ]
            if piece.mark is StreamMark.END:
                self._framers.pop(piece.flow, None)
                self._note_pending(piece.flow, 0)
            else:
                self._framers[piece.flow] = framer
                self._note_pending(piece.flow, framer.pending_bytes)
        return packets

    def _note_pending(self, flow: Flow, size: int) -> None:
        """Keep the sum of incomplete messages in bounds; the longest idle stream gives its part up."""
        self._pending_bytes += size - self._pending.pop(flow, 0)
        if size:
            self._pending[flow] = size
        while self._pending_bytes > _MAX_PENDING_BYTES:
            idle, held = self._pending.popitem(last=False)
            self._pending_bytes -= held
            self._framers[idle].cut()


class _StreamFramer:
    """The framer that fits the first four bytes of a stream."""

    def __init__(self, lost_bytes: Counter[FramingLoss]) -> None:
        self._lost_bytes = lost_bytes
        self._head = b""
        self._framer: SipFramer | HepFramer | None = None

    @property
    def pending_bytes(self) -> int:
        return len(self._head) if self._framer is None else self._framer.pending_bytes

    def take(self, piece: StreamPiece) -> list[bytes]:
        if piece.mark is not StreamMark.DATA:
            self.cut()
            return []
        if self._framer is not None:
            return self._framer.feed(piece.data)
        self._head += piece.data
        if len(self._head) < len(HEP3_MAGIC):
            return []
        head, self._head = self._head, b""
        is_hep_stream = head.startswith((HEP3_MAGIC, _DEFLATE_IN_GZIP))
        self._framer = (
            HepFramer(lost_bytes=self._lost_bytes) if is_hep_stream else SipFramer(lost_bytes=self._lost_bytes)
        )
        return self._framer.feed(head)

    def cut(self) -> None:
        if self._framer is not None:
            self._framer.cut()
        elif self._head:
            self._lost_bytes[FramingLoss.CUT_OFF] += len(self._head)
            self._head = b""


def _packet(flow: Flow, payload: bytes, *, ip_proto: int, captured_us: int) -> CapturedPacket:
    src_ip, dst_ip = address_text(flow.src), address_text(flow.dst)
    return CapturedPacket(captured_us, ip_proto, src_ip, flow.src_port, dst_ip, flow.dst_port, payload)
