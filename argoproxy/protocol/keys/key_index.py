"""The keys as workers look them up: by digest, in a document that is published whenever a key changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.key_record import KeyBook

FORMAT = 1


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The keys by their digests. Rows are read only when a request needs them: ten thousand are ready at once."""

    generation: int = 0
    #: By digest: the position of the key, and when this secret ends (None: with the key).
    digests: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    #: Of each key: id, name, expiry, models, team.
    rows: tuple[tuple[str, str, float | None, list[str], str], ...] = ()
    #: The models of each team.
    teams: Mapping[str, list[str]] = field(default_factory=dict)
    #: The holders that were found, by position: one is made for many requests.
    _holders: dict[int, Principal] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, digest: str, now: float) -> Principal | None:
        """Return the holder of the key with this digest, None if it is not accepted, for whatever reason."""
        position, ends = self.digests.get(digest, (-1, None))
        if position < 0 or (ends is not None and now >= ends):
            return None
        key_id, name, expires, models, team = self.rows[position]
        if expires is not None and now >= expires:
            return None
        holder = self._holders.get(position)
        if holder is None:
            lists = tuple([tuple(patterns) for patterns in (models, self.teams.get(team)) if patterns])
            holder = self._holders[position] = Principal(name, lists, key_id, team)
        return holder


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
        "rows": [[key.id, key.name, key.expires, list(key.models), key.team] for key in keys],
        "teams": {team.name: list(team.models) for team in book.teams.values()},
    }


def read_document(document: Any) -> KeyIndex:
    """Return the index of a document. Raises ValueError if it is not one."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("it is not a list of keys")
    try:
        return KeyIndex(int(document["generation"]), document["digests"], tuple(document["rows"]), document["teams"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not a list of keys: {error}") from None
