"""The torture messages of RFC 4475 that matter to a listener, cut to what they are about (section in each id)."""

import pytest

from everline.wire.sip import SipDecodeError, SipFault, parse_sip
from everline.wire.sip_address import SipAddress

WSINV = rb"""INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 5
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
"""

INTMETH = b"""!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:\
&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\x07 NUL:\x00 DEL:\x7f" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="\xd1\x80";tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb
Content-Length: 0

"""


def message(
    start: str = "INVITE sip:user@example.com SIP/2.0",
    *,
    to: str = "sip:user@example.com",
    sender: str = "<sip:caller@example.net>;tag=1",
    call_id: str = "torture@192.0.2.1",
    cseq: str = "8 INVITE",
    more: str = "",
) -> bytes:
    """A message in which only what an entry is about is unusual."""
    head = f"{start}\nTo: {to}\nFrom: {sender}\nCall-ID: {call_id}\nCSeq: {cseq}\n{more}\n"
    return head.encode()


DOUBLE = message("REGISTER sip:example.com SIP/2.0", cseq="8 REGISTER", more="Content-Length: 0\n") + message(
    call_id="b"
)
REPEATED = message(
    more="CSeq: 59 INVITE\nCall-ID: multi01.98asdh@192.0.2.2\nFrom: sip:x@example.com;tag=9\nTo: sip:x@example.com\n"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            WSINV,
            {
                "method": "INVITE", "call_id": "wsinv.ndaksdj@192.0.2.1", "cseq": 9, "sdp": "\nv=0\n",
                "sender": SipAddress("jdrosen", "example.com", "98asjd8"),
                "recipient": SipAddress("vivekg", "chair-dnrc.example.com", "1918181833n"),
            },
            id="3.1.1.1-a-short-tortuous-invite",
        ),
        pytest.param(
            INTMETH,
            {
                "method": "!INTERESTING-METHOD0123456789_*+`.%INDEED'~", "cseq": 139122385,
                "call_id": "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
                "sender": SipAddress("mundane", "example.com", "_token~1'+`*%!-."),
                "recipient": SipAddress("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/", "example.com", ""),
            },
            id="3.1.1.2-wide-range-of-valid-characters",
        ),
        pytest.param(
            message(to="sip:sips%3Auser%40example.com@example.net"),
            {"recipient": SipAddress("sips:user@example.com", "example.net", "")},
            id="3.1.1.3-valid-use-of-the-percent-escape",
        ),
        pytest.param(
            message("REGISTER sip:example.com SIP/2.0", to="sip:null-%00-null@example.com", cseq="1 REGISTER"),
            {"recipient": SipAddress("null-\x00-null", "example.com", "")},
            id="3.1.1.4-escaped-nulls-in-uris",
        ),
        pytest.param(
            message("RE%47IST%45R sip:registrar.example.com SIP/2.0", to='"%Z%45" <sip:resource@example.com>'),
            {"method": "RE%47IST%45R", "recipient": SipAddress("resource", "example.com", "")},
            id="3.1.1.5-percent-when-it-is-not-an-escape",
        ),
        pytest.param(
            message("OPTIONS sip:user@example.com SIP/2.0", sender="caller<sip:caller@example.com>;tag=323"),
            {"sender": SipAddress("caller", "example.com", "323")},
            id="3.1.1.6-no-space-between-display-name-and-bracket",
        ),
        pytest.param(DOUBLE, {"method": "REGISTER"}, id="3.1.1.8-extra-trailing-octets-in-a-datagram"),
        pytest.param(
            message(to="<sip:user;par=u%40example.net@example.com>"),
            {"recipient": SipAddress("user", "example.com", "")},
            id="3.1.1.9-semicolon-separated-parameters-in-the-user-part",
        ),
        pytest.param(
            message(more="Content-Type: multipart/mixed;boundary=7a\n") + b"--7a\n\n\x80\x81v=0\n--7a--",
            {"sdp": "\n--7a\n\n\x80\x81v=0\n--7a--"},
            id="3.1.1.11-multipart-mime-with-binary",
        ),
        pytest.param(
            message("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое"),
            {"method": "INVITE", "status": 200},
            id="3.1.1.12-unusual-reason-phrase",
        ),
        pytest.param(message("SIP/2.0 100 "), {"status": 100}, id="3.1.1.13-empty-reason-phrase"),
        pytest.param(
            message(more="Via: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: <sip:joe@example.org>;;;;\n"),
            {"cseq": 8},
            id="3.1.2.1-extraneous-header-field-separators",
        ),
        pytest.param(
            message(more="Content-Type: application/sdp\nContent-Length: 9999\n") + b"v=0\n",
            {"sdp": "\nv=0\n"},
            id="3.1.2.2-content-length-larger-than-the-message",
        ),
        pytest.param(
            message(more="Content-Type: application/sdp\nContent-Length: -999\n") + b"v=0\n",
            {"sdp": "\nv=0\n"},
            id="3.1.2.3-negative-content-length",
        ),
        pytest.param(message(cseq="36893488147419103232 REGISTER"), SipFault.BAD_CSEQ, id="3.1.2.4-overlarge-values"),
        pytest.param(
            message("SIP/2.0 503 Service Unavailable", cseq="9292394834772304023312 OPTIONS"),
            SipFault.BAD_CSEQ,
            id="3.1.2.5-overlarge-values-in-a-response",
        ),
        pytest.param(
            message(to='"Mr. J. User <sip:j.user@example.com>'),
            {"recipient": SipAddress("j.user", "example.com", "")},
            id="3.1.2.6-unterminated-quoted-string",
        ),
        pytest.param(
            message("INVITE <sip:user@example.com> SIP/2.0"), {"method": "INVITE"}, id="3.1.2.7-brackets-in-uri"
        ),
        pytest.param(message("INVITE sip:user@example.com; lr SIP/2.0"), {"method": "INVITE"}, id="3.1.2.8-spaces"),
        pytest.param(
            message("INVITE  sip:user@example.com  SIP/2.0"), {"method": "INVITE"}, id="3.1.2.9-many-spaces"
        ),
        pytest.param(
            message("OPTIONS sip:user@example.com SIP/2.0  "), {"method": "OPTIONS"}, id="3.1.2.10-trailing-white-space"
        ),
        pytest.param(
            message(to='"Watson, Thomas" < sip:t.watson@example.org >'),
            {"recipient": SipAddress("t.watson", "example.org", "")},
            id="3.1.2.14-spaces-within-addr-spec",
        ),
        pytest.param(
            message(sender="Bell, Alexander <sip:a.g.bell@example.com>;tag=43"),
            {"sender": SipAddress("a.g.bell", "example.com", "43")},
            id="3.1.2.15-non-token-characters-in-display-name",
        ),
        pytest.param(message("OPTIONS sip:user@example.com SIP/7.0"), SipFault.NOT_SIP, id="3.1.2.16-unknown-version"),
        pytest.param(
            message("OPTIONS sip:user@example.com SIP/2.0", cseq="8 INVITE"),
            {"method": "OPTIONS"},
            id="3.1.2.17-start-line-and-cseq-method-mismatch",
        ),
        pytest.param(
            message("SIP/2.0 4294967301 better not break the receiver"), SipFault.NOT_SIP, id="3.1.2.19-overlarge-code"
        ),
        pytest.param(
            b"INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95\n\n",
            SipFault.NO_CALL_ID,
            id="3.3.1-missing-required-header-fields",
        ),
        pytest.param(
            message("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
            {"method": "OPTIONS"},
            id="3.3.2-unknown-uri-scheme",
        ),
        pytest.param(
            message("REGISTER sip:example.com SIP/2.0", to="isbn:2983792873"),
            {"recipient": SipAddress("", "2983792873", "")},
            id="3.3.4-unknown-uri-schemes-in-header-fields",
        ),
        pytest.param(
            REPEATED,
            {
                "call_id": "torture@192.0.2.1", "cseq": 8, "sender": SipAddress("caller", "example.net", "1"),
                "recipient": SipAddress("user", "example.com", ""),
            },
            id="3.3.8-multiple-values-in-single-value-header-fields",
        ),
        pytest.param(
            message(more="Content-Type: application/sdp\nContent-Length: 4\nContent-Length: 2\n") + b"v=0\nrest",
            {"sdp": "\nv=0\n"},
            id="3.3.9-multiple-content-length-values",
        ),
        pytest.param(
            message(to="sip:+16505552222@ss1.example.net;user=phone", sender="<sip:+1303@ift.example.net;user=phone>"),
            {
                "sender": SipAddress("+1303", "ift.example.net", ""),
                "recipient": SipAddress("+16505552222", "ss1.example.net", ""),
            },
            id="3.4.1-invite-with-rfc-2543-syntax",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_end", [pytest.param(b"\r\n", id="crlf"), pytest.param(b"\n", id="lf-alone")])
def test_torture(data: bytes, expected: dict[str, object] | SipFault, line_end: bytes) -> None:
    """A listener takes what is usable, also where an element would have to answer 400."""
    head, blank, body = data.partition(b"\n\n")
    data = (head + blank).replace(b"\n", line_end) + body
    if isinstance(expected, SipFault):
        with pytest.raises(SipDecodeError) as caught:
            parse_sip(data)
        assert caught.value.reason is expected
    else:
        got = parse_sip(data)._asdict()
        assert {name: got[name] for name in expected} == expected
