"""Why a frame, a fragment or a segment of a capture did not become a packet."""

from enum import StrEnum


class Loss(StrEnum):
    """A closed set: each labels a counter. Frames, if nothing else is said."""

    UNKNOWN_LINK = "unknown-link"
    NOT_IP = "not-ip"
    BAD_IP = "bad-ip"
    TUNNEL_TOO_DEEP = "tunnel-too-deep"
    NOT_UDP_OR_TCP = "not-udp-or-tcp"
    BAD_UDP = "bad-udp"
    BAD_TCP = "bad-tcp"
    NOT_SIP = "not-sip"
    TRUNCATED = "truncated"
    """Cut by the snap length, but what is left was given."""
    FRAGMENT_TRUNCATED = "fragment-truncated"
    FRAGMENT_BAD = "fragment-bad"
    FRAGMENT_OVERLAP = "fragment-overlap"
    """Datagrams given up."""
    FRAGMENT_TIMEOUT = "fragment-timeout"
    """Datagrams of which a fragment never came."""
    FRAGMENT_EVICTED = "fragment-evicted"
    """Datagrams given up because too many were incomplete."""
    TCP_RETRANSMITTED = "tcp-retransmitted"
    """Segments that brought nothing new: no loss of content."""
    TCP_GAP = "tcp-gap"
    """Holes in a stream that were given up."""
    TCP_EVICTED = "tcp-evicted"
    """Stream directions given up because there were too many."""
