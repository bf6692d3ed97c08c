"""
What Redis does by itself: Lua, made from the facts' definition, so that there is one.

`MERGE` joins a chunk of calls by the laws of `calls/facts.py` and, in the same moment, tells the steps that the sender
found in the joined call. The sender can know them beforehand: facts follow from the set of events, so when Redis has
as many different events of a call (and the same timeout) as the sender has, both have the same facts. Where they have
not, somebody else has merged too: the sender is told to look, and the call stays listed in `everline:untold` until
somebody has told its steps.

Redis compares strings by the collation of its locale; `less` compares bytes.
"""

import json
from hashlib import sha1
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from everline.bus.connection import command
from everline.bus.encoding import FIELDS
from everline.bus.steps import LINGER_US, MAX_MEMBERS, STRAY_US
from everline.calls.facts import Law

CALL: Final = "everline:call:"
LIVE: Final = "everline:live"
IDLE: Final = "everline:idle"
UNTOLD: Final = "everline:untold"
EVENTS: Final = "everline:events"
EPOCH: Final = "everline:epoch"
REBUILT: Final = "everline:rebuilt"
FENCE: Final = "everline:fence"
NEWS_CHANNEL: Final = "everline:transitions"
CALL_CHANNEL: Final = "call:event:"

_SIGN: Final = {Law.MIN: -1, Law.MAX: 1, Law.UNION: 0}


def _rules() -> str:
    """The facts that are no sets, as a Lua table: sign of the law, compared as a number, decides about steps."""
    rows = [
        f"{one.name}={{{_SIGN[one.law]},{str(one.is_number).lower()},{str(one.is_progress).lower()}}}"
        for one in FIELDS
        if one.law is not Law.UNION
    ]
    return f"local RULES = {{{', '.join(rows)}}}"


_LESS: Final = """
local function less(a, b)
  local n = math.min(#a, #b)
  for i = 1, n, 16 do
    if string.sub(a, i, i + 15) ~= string.sub(b, i, i + 15) then
      for j = i, math.min(i + 15, n) do
        local p, q = string.byte(a, j), string.byte(b, j)
        if p ~= q then return p < q end
      end
    end
  end
  return #a < #b
end
"""


class Script:
    """A Lua script, sent in full only to a Redis that does not know it yet."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, *arguments: bytes | str | float) -> Any:  # what the script gives
        """Run it; a primary that was just promoted, or emptied, does not know it."""
        try:
            return await command(client, "EVALSHA", self._sha, 0, *arguments)
        except NoScriptError:
            return await command(client, "EVAL", self._text, 0, *arguments)


MERGE: Final = Script(
    _rules()
    + _LESS
    + f"""
local chunk = cjson.decode(ARGV[1])
local epoch, max_calls, max_events = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local published, look = 0, {{}}
redis.call('SET', '{EPOCH}', epoch, 'NX')

local function write(key, fields)
  for i = 1, #fields, 2000 do
    redis.call('HSET', key, unpack(fields, i, math.min(i + 1999, #fields)))
  end
end

local function file(key, id, kind, start)
  if kind == 'l' then
    redis.call('PERSIST', key)
    redis.call('ZADD', '{LIVE}', start, id)
    redis.call('ZREM', '{IDLE}', id)
  else
    redis.call('PEXPIRE', key, kind == 'e' and {LINGER_US // 1000} or {STRAY_US // 1000})
    redis.call('ZREM', '{LIVE}', id)
    redis.call('ZADD', '{IDLE}', now, id)
  end
end

local function tell(id, payload)
  redis.call('XADD', '{EVENTS}', 'MAXLEN', '~', max_events, '*', 't', payload)
  redis.call('PUBLISH', '{CALL_CHANNEL}' .. id, payload)
  redis.call('PUBLISH', '{NEWS_CHANNEL}', payload)
  published = published + 1
end

for index, one in ipairs(chunk) do
  local id, wanted, kind, start, moved, told, steps = unpack(one, 1, 7)
  local names, values, keys, signals, members = unpack(one, 8, 12)
  local key = '{CALL}' .. id
  local ask = {{'.n', '.t', '.k', '.u', '.s', 'timeout_us'}}
  for _, name in ipairs(names) do ask[#ask + 1] = name end
  for _, name in ipairs(keys) do ask[#ask + 1] = name end
  for _, name in ipairs(signals) do ask[#ask + 1] = name end
  local got = redis.call('HMGET', key, unpack(ask))
  local n, mask, filed, untold = tonumber(got[1] or 0), tonumber(got[2] or 0), got[3], got[4]
  local s, timeout, before = tonumber(got[5] or 0), got[6], n
  local set, changed, at = {{}}, false, 6
  local function put(name, value)
    set[#set + 1] = name
    set[#set + 1] = value
  end

  for i, name in ipairs(names) do
    local old, new, rule = got[at + i], values[i], RULES[name]
    local better = not old
    if old and rule[2] then
      better = (tonumber(new) - tonumber(old)) * rule[1] > 0
    elseif old and old ~= new then
      better = less(old, new) == (rule[1] > 0)
    end
    if better then
      put(name, new)
      if name == 'timeout_us' then timeout = new end
      if rule[3] or (name == 'last_us' and timeout) then changed = true end
    end
  end
  at = at + #names
  for i, name in ipairs(keys) do
    if not got[at + i] and n < {MAX_MEMBERS} then
      n = n + 1
      put(name, '')
    end
  end
  at = at + #keys
  for i, name in ipairs(signals) do
    if not got[at + i] then
      s, changed = s + 1, true
      put(name, '')
    end
  end
  if s ~= tonumber(got[5] or 0) then put('.s', s) end
  if n < {MAX_MEMBERS} then
    for _, name in ipairs(members) do put(name, '') end
  end

  if wanted == '*' then n = math.max(n, {MAX_MEMBERS}) end
  local all = bit.bor(mask, told)
  if wanted == '*' or n .. ':' .. (timeout or '') == wanted then
    for _, step in ipairs(steps) do
      if bit.band(all, step[1]) == 0 then
        all = bit.bor(all, step[1])
        tell(id, step[2])
      end
    end
    if untold then
      redis.call('HDEL', key, '.u')
      redis.call('ZREM', '{UNTOLD}', id)
    end
  else
    if changed and not untold then
      put('.u', '1')
      redis.call('ZADD', '{UNTOLD}', now, id)
    end
    if changed or untold or (tonumber(string.match(wanted, '^%d+')) or 0) > n or s > {MAX_MEMBERS * 3 // 2} then
      look[#look + 1] = index
    else
      look[#look + 1] = -index
    end
    kind, moved = filed or 's', false
  end
  if all ~= mask then put('.t', all) end
  if n ~= before then put('.n', n) end
  if kind ~= filed then put('.k', kind) end
  if filed or #names + #keys > 0 then
    if #set > 0 then write(key, set) end
    if kind ~= filed or moved then
      file(key, id, kind, start)
    elseif kind ~= 'l' and #set > 0 then
      redis.call('PEXPIRE', key, kind == 'e' and {LINGER_US // 1000} or {STRAY_US // 1000})
    end
  end
end

redis.call('ZREMRANGEBYSCORE', '{IDLE}', '-inf', now - {LINGER_US // 1000})
local evicted = 0
for _, set in ipairs({{'{IDLE}', '{LIVE}'}}) do
  local surplus = redis.call('ZCARD', '{IDLE}') + redis.call('ZCARD', '{LIVE}') - max_calls
  if surplus > 0 then
    local gone = redis.call('ZPOPMIN', set, math.min(surplus, 500))
    for i = 1, #gone, 2 do
      redis.call('ZREM', '{UNTOLD}', gone[i])
      evicted = evicted + redis.call('UNLINK', '{CALL}' .. gone[i])
    end
  end
end
return published .. ',' .. evicted .. (#look > 0 and ',' .. table.concat(look, ',') or '')
"""
)
"""
Join a chunk of calls. ARGV: the chunk as JSON, an epoch in case that there is none, most calls, most transitions kept.

A call is a list: Call-ID; "<events>:<timeout>" as they should be after the merge, or * to tell without comparing, from
now on; kind; start; whether kind or start may have changed; mask of the steps known as told; steps as [bit, payload];
names of facts; their values; event keys; members that decide about steps; other members. A kind is `l`ive, `e`nded
or `s`tray.

Gives `published,evicted[,number…]`. The numbers (from 1) are of calls whose steps were not told: of which others know
more, and that must be looked at, because this merge mattered, nobody has told yet what an earlier one brought, or Redis
knows less than the sender; and, as negative numbers, those whose steps others have told who know more.
"""

FACTS_OF: Final = Script(f"""
local found = {{}}
for i, id in ipairs(cjson.decode(ARGV[1])) do
  local fields = redis.call('HGETALL', '{CALL}' .. id)
  table.insert(fields, 1, '')
  found[i] = fields
end
return cjson.encode(found)
""")
"""Everything known of some calls. ARGV: their ids as JSON. Gives a JSON list of `["", field, value, …]`."""

TRANSITIONS_AFTER: Final = Script(f"""
if redis.call('GET', '{EPOCH}') ~= ARGV[1] then return false end
local known
if ARGV[2] == '0-0' or ARGV[2] == '0' then
  known = redis.call('EXISTS', '{EVENTS}') == 0
  if not known then
    local info = redis.call('XINFO', 'STREAM', '{EVENTS}')
    local told = {{}}
    for i = 1, #info, 2 do told[info[i]] = info[i + 1] end
    known = told['entries-added'] == told['length']
  end
else
  known = #redis.call('XRANGE', '{EVENTS}', ARGV[2], ARGV[2]) == 1
end
if not known then return false end
return redis.call('XRANGE', '{EVENTS}', '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
""")
"""
Transitions after one that is still kept. ARGV: epoch, stream id, how many at most. False when the epoch is another, or
the transition at that place is no longer there: then there could be a hole behind it.
"""

POSITION: Final = Script(f"""
redis.call('SET', '{EPOCH}', ARGV[1], 'NX')
local last = redis.call('XREVRANGE', '{EVENTS}', '+', '-', 'COUNT', 1)
return {{redis.call('GET', '{EPOCH}'), last[1] and last[1][1] or '0-0', redis.call('ZCARD', '{LIVE}')}}
""")
"""Where the stream is, and how many calls are live. ARGV: an epoch in case that there is none."""

FENCED_SET: Final = Script(
    _LESS
    + f"""
local seen = redis.call('GET', '{FENCE}') or ''
if less(ARGV[1], seen) then return 0 end
redis.call('SET', '{FENCE}', ARGV[1])
redis.call('SET', ARGV[2], ARGV[3])
return 1
"""
)
"""Set a key unless a higher token was seen. ARGV: the token as 20 digits, key, value. Gives 1 when it was set."""


def as_json(value: Any) -> bytes:
    """For `cjson.decode`; a text that is no Unicode (odd bytes of a header) survives it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
