"""What may be done with keys: over all orders of operations, and each refusal by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import BadRequest, Conflict, NotFound
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.keys.key_changes import (
    REPEAT_S,
    ChangeSource,
    Declaration,
    Rotation,
    change_key,
    create_key,
    declare,
    rotate_key,
)
from argoproxy.protocol.keys.key_index import make_document, read_document
from argoproxy.protocol.keys.key_record import KeyBook, TeamRecord, changes_between
from argoproxy.protocol.keys.key_token import digest_of
from argoproxy.protocol.limits.limits import LimitedSubject, Limits, Reserve

PEPPER = b"p" * 64


def source(now: float, seed: int = 0, request: str = "") -> ChangeSource:
    entropy = f"{now} {seed}".encode().ljust(32, b".")
    return ChangeSource(now, PEPPER, entropy[:16], entropy, request)


def find(book: KeyBook, token: str, now: float) -> Principal | None:
    """Look a key up as a worker does."""
    return read_document(make_document(book, 1, now)).find(digest_of(PEPPER, token.encode()), now)


def created(name: str = "ann", now: float = 0.0, **attributes: Any) -> tuple[KeyBook, str]:
    book, issued = create_key(KeyBook(teams={"t": TeamRecord("t", ("m*",))}), name, attributes, source(now))
    return book, issued.token


ROTATIONS = st.lists(st.tuples(st.integers(1, 50), st.sampled_from([0, 20, 40]), st.booleans()), max_size=12)


@given(ROTATIONS)
def test_at_most_two_secrets_are_live(steps: list[tuple[int, int, bool]]) -> None:
    """Model: the newest secret is accepted, and besides it at most one that a rotation lets go on."""
    book, newest = created()
    ending: dict[str, float] = {}
    everything, now = {newest}, 0.0
    for number, (wait, overlap, replaces) in enumerate(steps):
        now += wait
        live = {token: end for token, end in ending.items() if now < end}
        try:
            book, issued = rotate_key(book, "ann", Rotation(overlap, replaces), source(now, number))
        except Conflict:
            assert live
            assert overlap
            assert not replaces
            continue
        former = {} if replaces else {newest: now + overlap}
        ending = {token: min(end, now + overlap) for token, end in {**live, **former}.items()}
        newest = issued.token
        everything.add(newest)
        accepted = {token for token in everything if find(book, token, now)}
        assert accepted == {newest, *(token for token, end in ending.items() if now < end)}
        assert len(accepted) <= 2
        assert len(book.find("ann").secrets) <= 2


def test_a_key_ends_when_it_expires_and_while_it_is_disabled() -> None:
    book, token = created(expires=100.0)
    assert find(book, token, 99.0) == Principal("ann", (), book.find("ann").id)
    assert find(book, token, 100.0) is None
    disabled, _ = change_key(book, "ann", {"is_disabled": True})
    assert find(disabled, token, 1.0) is None
    index = read_document(make_document(book, 1, 1.0))
    assert index.find(digest_of(PEPPER, token.encode()), 100.0) is None, "also if the document is older"
    rotated, _ = rotate_key(book, "ann", Rotation(50.0), source(2.0))
    index = read_document(make_document(rotated, 1, 2.0))
    assert index.find(digest_of(PEPPER, token.encode()), 51.0)
    assert index.find(digest_of(PEPPER, token.encode()), 52.0) is None
    states = {book.find("ann").state(1.0), book.find("ann").state(100.0), disabled.find("ann").state(1.0)}
    assert states == {"active", "expired", "disabled"}
    assert replace(book.find("ann"), secrets=()).state(1.0) == "no_secret"


def test_models_of_a_key_and_its_team_both_hold() -> None:
    book, token = created(models=("m1", "x"), team="t")
    assert find(book, token, 1.0) == Principal("ann", (("m1", "x"), ("m*",)), book.find("ann").id, "t")


def test_a_repeated_request_returns_the_same_key_for_a_day() -> None:
    book, first = create_key(KeyBook(), "ann", {}, source(0.0, 1, "r"))
    assert create_key(book, "ann", {}, source(5.0, 2, "r")) == (book, first)
    with pytest.raises(Conflict):
        create_key(book, "ann", {}, source(5.0, 2, "other"))
    with pytest.raises(Conflict):
        create_key(book, "ann", {}, source(REPEAT_S, 3, "r"))
    rotated, second = rotate_key(book, "ann", Rotation(100.0), source(6.0, 4, "r"))
    assert second.token != first.token, "another request, though of the same idempotency key"
    assert rotate_key(rotated, "ann", Rotation(100.0), source(7.0, 5, "r")) == (rotated, second)


def test_refusals() -> None:
    book, _ = created()
    with pytest.raises(Conflict):
        create_key(book, "ann", {}, source(1.0))
    with pytest.raises(BadRequest):
        create_key(book, "bob", {"team": "none"}, source(1.0))
    for name in ("bob", ""):
        with pytest.raises(NotFound):
            change_key(book, name, {})
    assert change_key(book, book.find("ann").id, {"models": ("m",)})[1].record.models == ("m",)


def test_declared_keys_are_what_is_declared() -> None:
    book, _ = created(models=("m",))
    book, _ = change_key(book, "ann", {"is_disabled": True})
    texts = [
        Declaration("ann", {"is_declared": True}, source(1.0, 1)),
        Declaration("bob", {}, source(1.0, 2), "t" * 20),
    ]
    after = declare(book, [TeamRecord("u")], texts)
    ann = after.find("ann")
    assert (ann.models, ann.is_disabled, ann.secrets) == ((), True, book.find("ann").secrets)
    assert declare(after, [TeamRecord("u")], texts) == after, "the same declaration changes nothing"
    assert find(after, "t" * 20, 1.0)
    changed = declare(after, [], [Declaration("bob", {}, source(2.0, 3), "u" * 20)])
    assert (find(changed, "t" * 20, 2.0), changed.find("bob").id) == (None, after.find("bob").id)
    with pytest.raises(Conflict):
        change_key(after, "ann", {"models": ("x",)})
    assert change_key(after, "ann", {"is_disabled": False})[1].record.state(1.0) == "active"
    with pytest.raises(BadRequest):
        declare(after, [], [Declaration("eve", {}, source(3.0, 4), "t" * 20)])


def test_a_declared_key_has_the_same_id_on_every_host() -> None:
    first, second = (
        declare(KeyBook(), [], [Declaration("ann", {}, source(float(at), at))]).find("ann") for at in (1, 2)
    )
    assert first.id == second.id
    other = declare(KeyBook(), [], [Declaration("bob", {}, source(1.0, 1))]).find("bob")
    assert other.id != first.id


def test_no_two_keys_have_the_same_id() -> None:
    """One that was declared elsewhere may have been imported under another name."""
    ann = declare(KeyBook(), [], [Declaration("ann", {}, source(1.0, 1))]).find("ann")
    book = declare(KeyBook({"moved": replace(ann, name="moved")}), [], [Declaration("ann", {}, source(2.0, 2))])
    assert book.find("ann").id != book.find("moved").id


def test_what_is_recorded() -> None:
    empty = KeyBook()
    book, _ = created()
    (team, key) = sorted(changes_between(empty, book, "a", 1.0), key=lambda entry: entry.name, reverse=True)
    assert (team.action, key.action, key.changed) == ("create_team", "create", ("secrets",))
    assert changes_between(book, book, "a", 1.0) == []
    same = KeyBook({name: replace(one) for name, one in book.keys.items()}, book.teams)
    assert changes_between(book, same, "a", 1.0) == []
    steps = [
        (change_key(book, "ann", {"is_disabled": True})[0], "disable", ("is_disabled",)),
        (change_key(book, "ann", {"models": ("x",)})[0], "set", ("models",)),
        (rotate_key(book, "ann", Rotation(), source(5.0))[0], "rotate", ("secrets",)),
        (declare(book, [TeamRecord("t")], []), "set_team", ("models",)),
    ]
    for after, action, changed in steps:
        (entry,) = changes_between(book, after, "a", 2.0)
        assert (entry.action, entry.changed) == (action, changed)
    (entry,) = changes_between(steps[0][0], book, "a", 3.0)
    assert entry.action == "enable"


@pytest.mark.parametrize("document", [None, [], {}, {"format": 2}, {"format": 1}, {"format": 1, "generation": None}])
def test_what_is_no_list_of_keys(document: Any) -> None:
    with pytest.raises(ValueError, match="not a list of keys"):
        read_document(document)


def test_holders_have_the_limits_of_their_key_and_their_team() -> None:
    mine, ours = Limits(rpm=5, models=(("gpt-*", Limits(rpm=1)),), reserve=Reserve.MAX), Limits(tpm=9)
    book, token = created(team="t", limits=mine)
    key_id = book.find("ann").id
    holder = find(book, token, 0.0)
    assert holder == Principal("ann", (("m*",),), key_id, "t", (LimitedSubject(f"key:{key_id}", mine),))
    book = declare(book, [TeamRecord("t", limits=ours)], [])
    holder = find(book, token, 0.0)
    assert holder
    assert holder.subjects == (LimitedSubject(f"key:{key_id}", mine), LimitedSubject("team:t", ours))
    book, _ = change_key(book, "ann", {"limits": Limits()})
    holder = find(book, token, 0.0)
    assert holder
    assert holder.subjects == (LimitedSubject("team:t", ours),)


def test_the_audit_names_limits() -> None:
    book, _ = created(limits=Limits(rpm=5))
    (entry,) = changes_between(KeyBook(teams=book.teams), book, "test", 0.0)
    assert entry.changed == ("secrets", "rpm")
    limits = Limits(tpm=7, models=(("m", Limits(rpm=1)),))
    after, _ = change_key(book, "ann", {"limits": limits})
    (entry,) = changes_between(book, after, "test", 0.0)
    assert (entry.action, entry.changed) == ("set", ("rpm", "tpm", "model_limits"))
    teams = declare(book, [TeamRecord("t", limits=limits)], [])
    (entry,) = changes_between(book, teams, "test", 0.0)
    assert entry.changed == ("models", "tpm", "model_limits")


def test_a_declaration_says_all_limits() -> None:
    book, _ = created(limits=Limits(rpm=5))
    assert not declare(book, [], [Declaration("ann", {}, source(1.0))]).find("ann").limits
