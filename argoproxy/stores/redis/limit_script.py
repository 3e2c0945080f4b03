"""The script by which a Redis server keeps counters: each operation is one call, which it runs in one step.

It does what `protocol/limits/admission.py` does, which also says what the numbers mean. Keys, all with one hash tag, so
that a cluster has them on one of its servers:

- `{prefix}:counter:ROW` is `USED AT`, as text: a number of Lua is exact up to 2^53 only if it is written out.
- `{prefix}:request:ID` is a hash: `claims` as JSON without brackets, `tokens` that are charged if it is abandoned, and
  `abandoned` once it is.
- `{prefix}:open` has the ids of requests that run, by the moment at which they count as abandoned unless they are
  renewed: their replica is gone.
- `{prefix}:settled:ID` is there for requests that were settled later than they ended: an admission that arrives after
  it, out of the buffers of a server that was frozen, has no effect.

A claim is `[row, kind, limit, amount, kept until]`, the last in milliseconds since 1970, 0 without end. The moment is
that of the server, unless one is given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script in Lua, which the server runs in one step."""

    text: str

    @property
    def digest(self) -> str:
        """The name by which the server knows it after the first run."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


LIMITS = LuaScript(
    r"""
local open, prefix, operation, now, lease = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local UNITS, MOST_USED, LATEST = 60000000, 4611686018427387904, 5000000
local BUCKET_KEPT, REQUEST_KEPT = 172800000, 172800000
if now == 0 then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function is_bucket(claim)
    return claim[2] == 'rpm' or claim[2] == 'tpm'
end

local function read(claim)
    local text = redis.call('GET', prefix .. 'counter:' .. claim[1])
    if not text then return 0, 0, false end
    local used, at = string.match(text, '^(%d+) (%d+)$')
    used, at = tonumber(used), tonumber(at)
    if is_bucket(claim) then
        if now > at then
            used, at = math.max(0, used - (now - at) * claim[3]), now
        elseif now - at <= -LATEST then
            at = now
        end
    end
    return used, at, true
end

local function write(claim, used, at)
    local key, text = prefix .. 'counter:' .. claim[1], nil
    text = string.format('%.0f %.0f', math.min(MOST_USED, math.max(0, used)), at)
    if is_bucket(claim) then
        redis.call('SET', key, text, 'PX', BUCKET_KEPT)
    elseif claim[2] == 'concurrent' and used <= 0 then
        redis.call('DEL', key)
    else
        redis.call('SET', key, text)
        if claim[5] > 0 then redis.call('PEXPIREAT', key, string.format('%.0f', claim[5])) end
    end
end

local function add(claim, amount, creates)
    local used, at, exists = read(claim)
    if amount == 0 or not (exists or creates) then return end
    if is_bucket(claim) then
        write(claim, used + amount * UNITS, math.max(at, exists and 0 or now))
    else
        write(claim, used + amount, at)
    end
end

local function charge_abandoned(claim, tokens)
    if claim[2] == 'concurrent' then return 0 end
    if claim[2] == 'tpm' then return tokens end
    return claim[4]
end

local function load(id)
    local found = redis.call('HMGET', prefix .. 'request:' .. id, 'claims', 'tokens', 'abandoned')
    if not found[1] then return nil end
    return cjson.decode('[' .. found[1] .. ']'), tonumber(found[2]), found[3]
end

local function keep(id, claims, tokens)
    redis.call('HSET', prefix .. 'request:' .. id, 'claims', claims, 'tokens', tokens)
    redis.call('ZADD', open, now + lease, id)
end

local function abandon(id)
    redis.call('ZREM', open, id)
    local claims, tokens = load(id)
    if not claims then return end
    for _, claim in ipairs(claims) do add(claim, charge_abandoned(claim, tokens) - claim[4], false) end
    redis.call('HSET', prefix .. 'request:' .. id, 'abandoned', 1)
    redis.call('PEXPIRE', prefix .. 'request:' .. id, REQUEST_KEPT)
end

local function settle(id, charges)
    local claims, tokens, abandoned = load(id)
    if not claims then return 0 end
    -- First of all something is deleted: then the rest is written even if the memory is full.
    redis.call('DEL', prefix .. 'request:' .. id)
    redis.call('ZREM', open, id)
    for _, claim in ipairs(claims) do
        local reserved = abandoned and charge_abandoned(claim, tokens) or claim[4]
        local charge = claim[2] ~= 'concurrent' and charges[claim[1]] or 0
        add(claim, charge - reserved, false)
    end
    return 1
end

local operations = {}

function operations.admit(id, text, tokens)
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', open, '-inf', string.format('%.0f', now), 'LIMIT', 0, 50)) do
        abandon(gone)
    end
    if redis.call('EXISTS', prefix .. 'settled:' .. id) == 1 then return {0} end
    local claims, granted, levels = cjson.decode('[' .. text .. ']'), 1, {}
    for index, claim in ipairs(claims) do
        local used, at = read(claim)
        local limit, amount = claim[3], claim[4]
        if is_bucket(claim) then
            if amount > limit or limit == 0 or used + (amount - limit) * UNITS > 0 then granted = 0 end
            at = math.max(at, used == 0 and now or 0)
        elseif not (amount == 0 and limit > 0) and used + math.max(amount, 1) > limit then
            granted = 0
        end
        levels[index] = {used, at}
    end
    local answer = {granted, string.format('%.0f', now)}
    for index, claim in ipairs(claims) do
        local used, at = levels[index][1], levels[index][2]
        answer[index + 2] = string.format('%.0f %.0f', used, at)
        if granted == 1 then write(claim, used + claim[4] * (is_bucket(claim) and UNITS or 1), at) end
    end
    if granted == 1 then keep(id, text, tokens) end
    return answer
end

function operations.settle(id, charges)
    return settle(id, cjson.decode(charges))
end

function operations.replay(id, charges, text, is_admitted)
    charges = cjson.decode(charges)
    local found = settle(id, charges)
    if is_admitted == '1' then return found end
    local is_new = redis.call('SET', prefix .. 'settled:' .. id, 1, 'NX', 'PX', REQUEST_KEPT)
    if found == 1 or not is_new then return found end
    for _, claim in ipairs(cjson.decode('[' .. text .. ']')) do
        if claim[2] ~= 'concurrent' then add(claim, charges[claim[1]] or 0, true) end
    end
    return 1
end

function operations.renew(...)
    -- This finds out as well whether it can be written.
    redis.call('SET', prefix .. 'probe', string.format('%.0f', now), 'PX', 60000)
    local lost = {}
    for _, id in ipairs({...}) do
        if redis.call('ZSCORE', open, id) then
            redis.call('ZADD', open, now + lease, id)
        else
            local claims, tokens, abandoned = load(id)
            if not claims then
                lost[#lost + 1] = id
            elseif abandoned then
                for _, claim in ipairs(claims) do add(claim, claim[4] - charge_abandoned(claim, tokens), true) end
                redis.call('HDEL', prefix .. 'request:' .. id, 'abandoned')
                redis.call('PERSIST', prefix .. 'request:' .. id)
                redis.call('ZADD', open, now + lease, id)
            end
        end
    end
    return lost
end

function operations.restore(id, text, tokens)
    if load(id) or redis.call('EXISTS', prefix .. 'settled:' .. id) == 1 then return 0 end
    for _, claim in ipairs(cjson.decode('[' .. text .. ']')) do add(claim, claim[4], true) end
    keep(id, text, tokens)
    return 1
end

return operations[operation](unpack(ARGV, 5))
"""
)
