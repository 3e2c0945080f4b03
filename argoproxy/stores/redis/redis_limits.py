"""Counters in a Redis server, exact for all replicas that use it. Each method is one script; none keeps anything back.

A request that was admitted is remembered with its claims until it is settled. It has a lease, which its replica renews:
what a replica that is gone has left is charged and given back by the next request of another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from argoproxy.protocol.limits.admission import CONCURRENT_RETRY_S, decide
from argoproxy.protocol.limits.buckets import Counter
from argoproxy.protocol.limits.limits import Admission, Claim, LimitKind
from argoproxy.stores.local.sqlite_ledger import SpentBudget
from argoproxy.stores.redis.limit_script import LIMITS, LuaScript

#: How long a request holds what it reserved after its replica has renewed it last.
LEASE_S = 30.0
#: How long counters are kept after their period.
_KEPT_S = 40 * 86_400.0
#: Requests that are renewed in one step: the server does nothing else meanwhile.
_RENEWED_AT_ONCE = 500
_READ_AT_ONCE = 500
_SCANNED_AT_ONCE = 1000

#: The moment of the server in place of a given one.
SERVER_CLOCK = 0


class ScriptServer(Protocol):
    """A server that runs scripts. Both raise StateUnavailable."""

    def run(self, script: LuaScript, key: str, arguments: Sequence[str | int]) -> Any:
        """Return the answer of a script."""

    def execute(self, *command: str | int | bytes) -> Any:
        """Return the answer to a command."""


@dataclass(frozen=True, slots=True)
class LateSettlement:
    """What a request is charged, which the server has yet to learn. `claims` are as `dump_claims` writes them.
    `is_admitted` says that the server is known to have admitted it: if it has no such request, it is settled."""

    request_id: str
    claims: str
    charges: Mapping[str, int]
    is_admitted: bool


class SharedCounters(Protocol):
    """What RedisLimits does, of which the methods have the same names. All of them raise StateUnavailable."""

    def admit(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> Admission: ...

    def settle(self, request_id: str, charges: Mapping[str, int], now: float) -> None: ...

    def replay(self, settlement: LateSettlement, now: float) -> None: ...

    def renew(self, request_ids: Sequence[str], now: float) -> Sequence[str]: ...

    def restore(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> None: ...

    def read_used(self, rows: Sequence[str]) -> Mapping[str, int]: ...


def use_server_clock(now: float) -> int:
    """Return the moment (microseconds since 1970) at which something is counted: that of the server, since the clocks
    of replicas differ."""
    del now
    return SERVER_CLOCK


class RedisLimits:
    """The counters below a prefix. All methods raise StateUnavailable."""

    def __init__(
        self,
        server: ScriptServer,
        prefix: str,
        clock: Callable[[float], int] = use_server_clock,
        lease_s: float = LEASE_S,
    ) -> None:
        self._server, self._clock = server, clock
        self._prefix = f"{{{prefix}}}:"
        self._open_key = f"{self._prefix}open"
        self._lease_us = int(lease_s * 1e6)

    def admit(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> Admission:
        """Grant all claims of a request or none. `tokens` are charged if it is abandoned."""
        granted, *levels = self._run("admit", now, request_id, dump_claims(claims), tokens)
        if not levels:  # settled already
            return Admission()
        now_us, *counters = map(_text, levels)
        admission = decide(claims, list(map(_read_counter, counters)), int(now_us))
        if bool(granted) == (admission.refused is None):
            return admission
        # The server's numbers are rounded above 2^53: what it has decided holds.
        return admission._replace(refused=None if granted else claims[0], retry_after_s=CONCURRENT_RETRY_S)

    def settle(self, request_id: str, charges: Mapping[str, int], now: float) -> None:
        """Replace what a request reserved by what it is charged; further calls do nothing."""
        self._run("settle", now, request_id, json.dumps(charges))

    def replay(self, settlement: LateSettlement, now: float) -> None:
        """Settle a request that ended while the server could not be used; further calls do nothing."""
        charges = json.dumps(dict(settlement.charges))
        self._run("replay", now, settlement.request_id, charges, settlement.claims, int(settlement.is_admitted))

    def renew(self, request_ids: Sequence[str], now: float) -> Sequence[str]:
        """Renew the leases of requests that run; return those that the server does not know. Without any it is tried
        whether the server can be written to."""
        lost: list[str] = []
        for begin in range(0, max(1, len(request_ids)), _RENEWED_AT_ONCE):
            lost += map(_text, self._run("renew", now, *request_ids[begin : begin + _RENEWED_AT_ONCE]))
        return lost

    def restore(self, request_id: str, claims: Sequence[Claim], tokens: int, now: float) -> None:
        """Reserve again what the server has lost, whatever the limits say."""
        self._run("restore", now, request_id, dump_claims(claims), tokens)

    def read_used(self, rows: Sequence[str]) -> Mapping[str, int]:
        """Return what is used of each counter that there is."""
        return {row: counter.used for row, counter in self.find_counters(rows).items()}

    def find_counters(self, rows: Sequence[str]) -> Mapping[str, Counter]:
        """Return those counters that there are, by their rows."""
        found: dict[str, Counter] = {}
        for begin in range(0, len(rows), _READ_AT_ONCE):
            some = rows[begin : begin + _READ_AT_ONCE]
            values = self._server.execute("MGET", *(f"{self._prefix}counter:{row}" for row in some))
            found |= {row: _read_counter(_text(value)) for row, value in zip(some, values, strict=True) if value}
        return found

    def read_spent(self, subject: str, now: float) -> Sequence[SpentBudget]:
        """Return what is used of the budgets of a key or a team, with those for models, in periods that have not
        ended."""
        counters = self.find_counters(sorted(self._find_rows(f"{subject}/")))
        return [one for row, counter in counters.items() if (one := self._spent_of(row, counter, now))]

    def _spent_of(self, row: str, counter: Counter, now: float) -> SpentBudget | None:
        """Return what is used of a budget; None if the row is that of another limit, or its period has ended."""
        limit, _, period = row.rpartition("/")
        holder, _, kind = limit.rpartition("/")
        if kind != LimitKind.BUDGET:
            return None
        left_ms = int(self._server.execute("PTTL", f"{self._prefix}counter:{row}"))
        ends_at = None if left_ms < 0 else float(round(now + left_ms / 1000 - _KEPT_S))
        return SpentBudget(holder, period, counter.used, ends_at) if ends_at is None or ends_at > now else None

    def _find_rows(self, begin: str) -> set[str]:
        """Return the rows of counters that begin with a text. The server goes through all its keys: for operators."""
        found, cursor, beginning = set[str](), 0, f"{self._prefix}counter:"
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", f"{beginning}{begin}")
        while True:
            cursor, keys = self._server.execute("SCAN", cursor, "MATCH", f"{pattern}*", "COUNT", _SCANNED_AT_ONCE)
            found.update(_text(key).removeprefix(beginning) for key in keys)
            cursor = int(cursor)
            if not cursor:
                return found

    def _run(self, operation: str, now: float, *arguments: str | int) -> Any:
        values = (self._prefix, operation, self._clock(now), self._lease_us, *arguments)
        return self._server.run(LIMITS, self._open_key, values)


def dump_claims(claims: Iterable[Claim]) -> str:
    """Return claims as the script reads them: JSON without the brackets around."""
    return json.dumps([(one.row, one.kind, one.limit, one.amount, _kept_until(one)) for one in claims])[1:-1]


def _kept_until(claim: Claim) -> int:
    return 0 if claim.resets_at is None else int((claim.resets_at + _KEPT_S) * 1000)


def _read_counter(text: str) -> Counter:
    used, at_us = text.split()
    return Counter(int(used), int(at_us))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
