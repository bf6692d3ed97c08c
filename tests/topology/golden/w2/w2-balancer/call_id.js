// rendered from calls — change cluster.yaml, not this file
// The Call-ID of a datagram, for NGINX's `hash`: of the SIP message in a HEP3 packet, else of its correlation id (chunk
// 0x11, which tells what call an RTCP report belongs to), or of a mirrored SIP message as it is. What has none is kept
// together by its sender. NGINX gives each datagram variables of its own.

const HEP3 = 0x48455033;
const SIP = 1;
const HEADERS_END = /\r?\n\r?\n/;
const CALL_ID = /(?:^|\n)(?:call-id|i)[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\r\n]*[^\s])/i;

let found = '';

function of_sip(bytes) {
    const text = bytes.toString();
    const end = text.search(HEADERS_END);
    const match = CALL_ID.exec(end < 0 ? text : text.slice(0, end));
    return match ? match[1] : '';
}

function of_hep(bytes) {
    const size = Math.min(bytes.readUInt16BE(4), bytes.length);
    let protocol = SIP;
    let correlation = '';
    let payload;
    for (let at = 6, length; at + 6 <= size; at += length) {
        length = bytes.readUInt16BE(at + 4);
        if (length < 6 || at + length > size) {
            break;
        }
        if (bytes.readUInt16BE(at) !== 0) {  // A vendor's own chunk.
            continue;
        }
        switch (bytes.readUInt16BE(at + 2)) {
        case 0x0b:
            protocol = bytes[at + 6];
            break;
        case 0x0f:
            payload = bytes.slice(at + 6, at + length);
            break;
        case 0x11:
            correlation = bytes.slice(at + 6, at + length).toString();
            break;
        }
    }
    return (payload && protocol === SIP && of_sip(payload)) || correlation;
}

function read(session) {
    session.on('upstream', (bytes) => {
        const is_hep = bytes.length >= 6 && bytes.readUInt32BE(0) === HEP3;
        found = (is_hep ? of_hep(bytes) : of_sip(bytes)) || session.remoteAddress;
        session.done();
    });
}

function value() {
    return found;
}

export default { read, value };
