"""One captured transport payload: what a capture file, a HEP frame and a socket all give."""

from dataclasses import dataclass

IPPROTO_TCP = 6
IPPROTO_UDP = 17


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """
    A payload with the addresses it travelled between.

    Attributes:
        captured_us: Capture time, UTC epoch microseconds; 0 when the source had none.
        ip_proto: IANA protocol number of the transport (6 TCP, 17 UDP, 132 SCTP, 22 "TLS" by Kamailio).
        src_ip: Sender's address in its canonical text form (RFC 5952 for IPv6).
        src_port: Sender's port.
        dst_ip: Receiver's address in its canonical text form.
        dst_port: Receiver's port.
        payload: The bytes as captured, never altered.
    """

    captured_us: int
    ip_proto: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    payload: bytes
