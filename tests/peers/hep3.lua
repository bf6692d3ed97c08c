-- HEP3 for tshark, which has no dissector of its own. Written from the HEP3 specification, rev. 37, and from nothing
-- of Everline: chunk heads, lengths and types are checked here independently, and SIP goes to Wireshark's dissector.
local hep3 = Proto("hep3", "Homer Encapsulation Protocol 3")
local f = hep3.fields
f.length = ProtoField.uint16("hep3.length", "Total length")
f.ipv4_source = ProtoField.ipv4("hep3.ipv4_source", "Source")
f.ipv4_target = ProtoField.ipv4("hep3.ipv4_target", "Target")
f.ipv6_source = ProtoField.ipv6("hep3.ipv6_source", "Source")
f.ipv6_target = ProtoField.ipv6("hep3.ipv6_target", "Target")
f.source_port = ProtoField.uint16("hep3.source_port", "Source port")
f.target_port = ProtoField.uint16("hep3.target_port", "Target port")
f.seconds = ProtoField.uint32("hep3.seconds", "Seconds")
f.microseconds = ProtoField.uint32("hep3.microseconds", "Microseconds")
f.ip_family = ProtoField.uint8("hep3.ip_family", "IP family")
f.ip_proto = ProtoField.uint8("hep3.ip_proto", "IP protocol")
f.protocol = ProtoField.uint8("hep3.protocol", "Protocol type")
f.capture_id = ProtoField.uint32("hep3.capture_id", "Capture agent id")
f.auth_key = ProtoField.string("hep3.auth_key", "Authentication key")
f.payload = ProtoField.bytes("hep3.payload", "Payload")
f.correlation_id = ProtoField.string("hep3.correlation_id", "Correlation id")
f.node_name = ProtoField.string("hep3.node_name", "Capture node name")
local malformed = ProtoExpert.new("hep3.malformed", "Malformed HEP3", expert.group.MALFORMED, expert.severity.ERROR)
hep3.experts = { malformed }

-- type = { field, length of the value or nil for any }
local chunks = {
    [0x01] = { f.ip_family, 1 }, [0x02] = { f.ip_proto, 1 },
    [0x03] = { f.ipv4_source, 4 }, [0x04] = { f.ipv4_target, 4 },
    [0x05] = { f.ipv6_source, 16 }, [0x06] = { f.ipv6_target, 16 },
    [0x07] = { f.source_port, 2 }, [0x08] = { f.target_port, 2 },
    [0x09] = { f.seconds, 4 }, [0x0a] = { f.microseconds, 4 },
    [0x0b] = { f.protocol, 1 }, [0x0c] = { f.capture_id, 4 },
    [0x0e] = { f.auth_key }, [0x0f] = { f.payload }, [0x11] = { f.correlation_id }, [0x13] = { f.node_name },
}

function hep3.dissector(buffer, pinfo, root)
    local tree = root:add(hep3, buffer())
    local function wrong(text) tree:add_proto_expert_info(malformed, text) end
    if buffer:len() < 6 or buffer(0, 4):string() ~= "HEP3" then return wrong("no HEP3 head") end
    tree:add(f.length, buffer(4, 2))
    if buffer(4, 2):uint() ~= buffer:len() then wrong("total length is not the datagram's") end
    local offset, payload = 6, nil
    while offset < buffer:len() do
        if offset + 6 > buffer:len() then return wrong("chunk head is cut off") end
        local vendor, kind = buffer(offset, 2):uint(), buffer(offset + 2, 2):uint()
        local size = buffer(offset + 4, 2):uint()
        if size < 6 or offset + size > buffer:len() then return wrong("chunk length is impossible") end
        local chunk = chunks[kind]
        if vendor ~= 0 or not chunk then return wrong("unknown chunk " .. vendor .. "/" .. kind) end
        if chunk[2] and size - 6 ~= chunk[2] then return wrong("chunk " .. kind .. " has the wrong size") end
        if size > 6 then
            tree:add(chunk[1], buffer(offset + 6, size - 6))
            if kind == 0x0f then payload = buffer(offset + 6, size - 6) end
        end
        offset = offset + size
    end
    if not payload then return wrong("no payload") end
    Dissector.get("sip"):call(payload:tvb(), pinfo, root)
end

DissectorTable.get("udp.port"):add(9060, hep3)
