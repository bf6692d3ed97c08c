"""Bytes to facts and back: HEP, SIP, SDP, RTCP, capture files. Pure: no I/O, no clock."""
