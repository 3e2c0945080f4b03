"""What may be done with keys: each function returns new keys, and the key that it is about.

Entropy, the pepper and the time are arguments. A secret that belongs to an idempotency key is derived from it with the
pepper: the same request, repeated because its reply was lost, returns the same secret, which is stored nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from argoproxy.errors import BadRequest, Conflict
from argoproxy.protocol.keys.key_record import KeyBook, KeyRecord, SecretDigest, TeamRecord
from argoproxy.protocol.keys.key_token import (
    PUBLIC_LENGTH,
    derive_bytes,
    derive_public,
    digest_of,
    encode_letters,
    make_token,
    tail_of,
)

#: How long a request may be repeated with its idempotency key.
REPEAT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ChangeSource:
    """What a change needs from outside: the time, the pepper, entropy for a public part and a secret, and the
    idempotency key of the request, or ""."""

    now: float
    pepper: bytes
    public_entropy: bytes
    secret_entropy: bytes
    request: str = ""

    def request_digest(self, action: str, name: str) -> str:
        """Return the digest by which a repeated request is recognized, "" if it can't be repeated."""
        return derive_bytes(self.pepper, "request", action, name, self.request).hex() if self.request else ""

    def make_secret(self, action: str, key_id: str, name: str) -> tuple[str, SecretDigest]:
        """Return the text of a new key, and its digest."""
        entropy = self.secret_entropy
        if self.request:
            entropy = derive_bytes(self.pepper, "secret", action, key_id, self.request)
        token = make_token(key_id, entropy)
        digest = digest_of(self.pepper, token.encode())
        return token, SecretDigest(digest, tail_of(token), self.now, request=self.request_digest(action, name))


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with its text, which is shown once; "" where there is none to show."""

    record: KeyRecord
    token: str = ""


def create_key(
    book: KeyBook, name: str, attributes: Mapping[str, Any], origin: ChangeSource
) -> tuple[KeyBook, IssuedKey]:
    """Create a key. Raises Conflict if there is one of this name, BadRequest if its team does not exist."""
    former = book.keys.get(name)
    if former and (repeated := _repeat(former, "create", origin)):
        return book, repeated
    if former:
        raise Conflict("There is a key of this name already.", param="name")
    public = encode_letters(origin.public_entropy, PUBLIC_LENGTH)
    token, secret = origin.make_secret("create", public, name)
    record = KeyRecord(public, name, origin.now, (secret,), **attributes)
    return _checked_book(book.with_key(record)), IssuedKey(record, token)


def change_key(book: KeyBook, name: str, attributes: Mapping[str, Any]) -> tuple[KeyBook, IssuedKey]:
    """Change fields of a key. Raises NotFound, BadRequest; Conflict if the config file declares them."""
    former = book.find(name)
    if former.is_declared and attributes.keys() - {"is_disabled"}:
        raise Conflict("The config file declares this key; change it there.")
    record = replace(former, **attributes)
    return _checked_book(book.with_key(record)), IssuedKey(record)


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a key is rotated: how long its present secret goes on, and whether one that was made while another was still
    ending is replaced."""

    overlap_s: float = 0.0
    replaces_new: bool = False


def rotate_key(book: KeyBook, name: str, rotation: Rotation, origin: ChangeSource) -> tuple[KeyBook, IssuedKey]:
    """Give a key a new secret. Raises NotFound; Conflict if its last rotation has not ended: a third secret would end
    one that is in use."""
    former = book.find(name)
    if repeated := _repeat(former, "rotate", origin):
        return book, repeated
    token, secret = origin.make_secret("rotate", former.id, former.name)
    live = former.live_secrets(origin.now)
    if rotation.replaces_new:
        live = live[:-1]
    elif rotation.overlap_s and len(live) > 1:
        raise Conflict(
            "The last rotation of this key has not ended. An overlap of 0 ends all its other secrets now; `replace_new`"
            " replaces the newest one, if nothing uses it yet."
        )
    ends = origin.now + rotation.overlap_s
    kept = tuple(replace(one, ends=ends if one.ends is None else min(one.ends, ends)) for one in live)
    record = replace(former, secrets=(*(one for one in kept if one.is_live(origin.now)), secret))
    return book.with_key(record), IssuedKey(record, token)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A key as the config file or an imported file says: attributes of its KeyRecord, and its text, or ""."""

    name: str
    attributes: Mapping[str, Any]
    origin: ChangeSource
    token: str = ""


def declare(book: KeyBook, teams: Iterable[TeamRecord], declarations: Iterable[Declaration]) -> KeyBook:
    """Create teams and keys, or change them to what is declared. Raises BadRequest for a team that does not exist, and
    if two keys have the same text."""
    keys = dict(book.keys)
    for one in declarations:
        keys[one.name] = _declare_key(keys.get(one.name), _choose_public(keys, one), one)
    return _checked_book(KeyBook(keys, {**book.teams, **{team.name: team for team in teams}}))


def _choose_public(keys: Mapping[str, KeyRecord], declaration: Declaration) -> str:
    """Return the public part of a declared key: the one it has, else that of its name, which is the same on every host.
    Another key may have been imported with that."""
    if declaration.name in keys:
        return keys[declaration.name].id
    public = derive_public(declaration.name)
    is_taken = any(key.id == public for key in keys.values())
    return encode_letters(declaration.origin.public_entropy, PUBLIC_LENGTH) if is_taken else public


def _declare_key(former: KeyRecord | None, public: str, declaration: Declaration) -> KeyRecord:
    """Return a key as it is declared: fields that are not named get their defaults, but a disabled key stays disabled.
    The declared text is its only one; that of an earlier declaration ends."""
    origin, token = declaration.origin, declaration.token
    blank = KeyRecord(public, declaration.name, former.created if former else origin.now)
    kept = {"secrets": former.secrets, "is_disabled": former.is_disabled} if former else {}
    record = replace(blank, **{**kept, **declaration.attributes})
    if not token:
        return record
    digest = digest_of(origin.pepper, token.encode())
    same = tuple(one for one in record.secrets if one.digest == digest and one.ends is None)
    return replace(record, secrets=same or (SecretDigest(digest, tail_of(token), origin.now),))


def _checked_book(book: KeyBook) -> KeyBook:
    """Return these keys. Raises BadRequest if they contradict each other."""
    digests = [secret.digest for key in book.keys.values() for secret in key.secrets]
    if len(set(digests)) < len(digests):
        raise BadRequest("Two keys have the same text.", param="key")
    if any(key.team and key.team not in book.teams for key in book.keys.values()):
        raise BadRequest("There is no team of this name; `teams:` in the config file declares teams.", param="team")
    return book


def _repeat(record: KeyRecord, action: str, origin: ChangeSource) -> IssuedKey | None:
    """Return what a request with this idempotency key has returned before, None if there was none."""
    digest = origin.request_digest(action, record.name)
    for secret in record.live_secrets(origin.now):
        if digest and secret.request == digest and origin.now < secret.created + REPEAT_S:
            return IssuedKey(record, origin.make_secret(action, record.id, record.name)[0])
    return None
