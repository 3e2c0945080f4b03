"""The keys as workers look them up: by digest, in a document that is published whenever a key changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.key_record import KeyBook
from argoproxy.protocol.limits.limit_fields import format_limits, parse_limits
from argoproxy.protocol.limits.limits import LimitedSubject

FORMAT = 2


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The keys by their digests. Rows are read only when a request needs them: ten thousand are ready at once."""

    generation: int = 0
    #: By digest: the position of the key, and when this secret ends (None: with the key).
    digests: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    #: Of each key: id, name, expiry, models, team, limits.
    rows: tuple[tuple[str, str, float | None, list[str], str, Json], ...] = ()
    #: The models and limits of each team.
    teams: Mapping[str, tuple[list[str], Json]] = field(default_factory=dict)
    #: Whether keys are not known at all, in place of those that there are.
    is_withdrawn: bool = False
    #: The holders that were found, by position: one is made for many requests.
    _holders: dict[int, Principal] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, digest: str, now: float) -> Principal | None:
        """Return the holder of the key with this digest, None if it is not accepted, for whatever reason."""
        position, ends = self.digests.get(digest, (-1, None))
        if position < 0 or (ends is not None and now >= ends):
            return None
        expires = self.rows[position][2]
        if expires is not None and now >= expires:
            return None
        holder = self._holders.get(position)
        if holder is None:
            holder = self._holders[position] = self._make_holder(position)
        return holder

    def _make_holder(self, position: int) -> Principal:
        key_id, name, _, models, team, limits = self.rows[position]
        team_models, team_limits = self.teams.get(team, ([], {}))
        lists = tuple([tuple(patterns) for patterns in (models, team_models) if patterns])
        limited = ((f"key:{key_id}", limits), (f"team:{team}", team_limits))
        subjects = [LimitedSubject(subject, parse_limits(fields)) for subject, fields in limited if fields]
        return Principal(name, lists, key_id, team, tuple(subjects))


def make_document(book: KeyBook, generation: int, now: float) -> Json:
    """Return the document of these keys. Disabled and expired ones are left out: to a client they are unknown."""
    keys = [key for key in book.keys.values() if key.state(now) == "active"]
    return {
        "format": FORMAT,
        "generation": generation,
        "digests": {
            secret.digest: [position, secret.ends]
            for position, key in enumerate(keys)
            for secret in key.live_secrets(now)
        },
        "rows": [
            [key.id, key.name, key.expires, list(key.models), key.team, format_limits(key.limits)] for key in keys
        ],
        "teams": {team.name: [list(team.models), format_limits(team.limits)] for team in book.teams.values()},
    }


def make_withdrawn_document() -> Json:
    """Return the document that says that it is not known which keys there are."""
    return {**make_document(KeyBook(), 0, 0.0), "withdrawn": True}


def read_document(document: Any) -> KeyIndex:
    """Return the index of a document. Raises ValueError if it is not one."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("it is not a list of keys")
    try:
        digests, rows, teams = document["digests"], tuple(document["rows"]), document["teams"]
        return KeyIndex(int(document["generation"]), digests, rows, teams, bool(document.get("withdrawn")))
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not a list of keys: {error}") from None
