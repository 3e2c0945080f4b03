"""What is charged for each way in which a request may end: once, and neither nothing nor everything."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from tests.limits.limited import TOKEN_NANOS, UNPRICED, Limited, StartLimited, cost_of, read_ledger
from tests.limits.metered import ORDINARY_TOKENS, begin, document, end, held, streamed, usage_event
from tests.support.processes import eventually
from tests.support.scripts import chunked, event, reply

WORDS = ["seven", " words", " that", " the", " upstream", " has", " said"]
#: Far more than these words are.
MOST_WORDS = 40


def test_abort_counts_partial(limited: Limited, name: str) -> None:
    """A client that leaves in the middle pays the prompt and what it has got."""
    key = limited.new_key(name, budget="5/total")
    script = limited.script(*begin(*WORDS), ["await"], *end(usage_event(3, 500)))
    prompt = [{"role": "user", "content": "word " * 400}]
    with limited.send(key, script, stream=True, messages=prompt) as client:
        client.until(b"said")
    (entry,) = limited.settled(name, 1)
    assert (entry["ending"], bool(entry["is_estimated"])) == ("client_gone", True)
    assert len(WORDS) // 2 <= entry["completion_tokens"] <= MOST_WORDS
    assert 200 <= entry["prompt_tokens"] <= 1000
    assert entry["cost_nanos"] == (entry["prompt_tokens"] + entry["completion_tokens"]) * TOKEN_NANOS


def test_abort_refunds_all(limited: Limited, name: str) -> None:
    """After half an answer the rest of the reservation comes back, and no more."""
    key = limited.new_key(name, budget="2/total", reserve="max")
    script = limited.script(*begin("word " * 400), ["await"], *end())
    with limited.send(key, script, stream=True, max_tokens=1500) as client:
        client.until(b"word ")
        assert limited.chat(key, max_tokens=1000).status == 429
    (entry,) = limited.settled(name, 1)
    assert 200 <= entry["completion_tokens"] <= 1000
    assert limited.chat(key, max_tokens=1900).status == 429
    assert limited.chat(key, max_tokens=900).status == 200


def test_a_stream_that_breaks_is_paid_as_far_as_it_came(limited: Limited, name: str) -> None:
    key = limited.new_key(name, budget="2/total")
    script = limited.script(*begin(*WORDS), ["read"], ["rst"])
    assert b"error" in limited.chat(key, script, stream=True).body
    (entry,) = limited.settled(name, 1)
    assert entry["ending"] == "upstream_broken"
    assert len(WORDS) // 2 <= entry["completion_tokens"] <= MOST_WORDS
    assert entry["cost_nanos"] > 0


def test_abort_charges_nothing_received(limited: Limited, name: str) -> None:
    """Where nothing came, nothing is charged: failures, refusals of the upstream, clients that leave before."""
    key = limited.new_key(name, budget="1.5/total", tpm=1500)
    silent, failing = limited.script(["hold"]), limited.script(reply("500 Oops"))
    error = json.dumps({"error": {"message": "slow", "type": "x", "code": "rate_limit_exceeded"}}).encode()
    refusing = limited.script(reply("429 Too Many Requests", error, Retry_After="3"))
    assert limited.chat(key, failing).status == 500
    assert limited.chat(key, refusing).status == 429
    assert limited.chat(key, limited.script(["rst"])).status == 502
    assert limited.chat(key, silent, timeout=0.3).status == 504
    with limited.send(key, silent):
        limited.upstream_has(silent, 2)
    entries = limited.settled(name, 5)
    assert cost_of(entries) == 0
    assert {(entry["prompt_tokens"] or 0) + (entry["completion_tokens"] or 0) for entry in entries} == {0}
    assert limited.chat(key, max_tokens=1024).status == 200


def test_settle_once(limited: Limited, name: str) -> None:
    """Every request is written down once, however it ended, also where it ended in two ways at once."""
    key = limited.new_key(name, budget="100/total")
    stream = limited.script(*streamed(WORDS, 3, 7))
    scripts = {
        "complete": stream,
        "upstream_broken": limited.script(*begin("a"), ["read"], ["rst"]),
        "upstream_timeout": limited.script(*begin("a"), ["hold"]),
        "upstream_error": limited.script(
            *begin("a"), ["send", chunked('data: {"error": {"message": "x"}}\n\n')], *end()
        ),
    }
    for script in scripts.values():
        limited.chat(key, script, stream=True, timeout=2)
    with limited.send(key, limited.script(*begin("a"), ["hold"]), stream=True) as client:
        client.until(b'"a"')
    late = limited.script(*begin("a"), ["await"], *end(usage_event(3, 7)))
    with limited.send(key, late, stream=True) as client:
        client.until(b'"a"')
        limited.upstream.open(late)
    entries = limited.settled(name, 6)
    assert len({entry["request_id"] for entry in entries}) == 6
    assert {*scripts, "client_gone"} <= {entry["ending"] for entry in entries}


def test_stream_counted_twice(limited: Limited, name: str) -> None:
    """Usage that is told twice, or in every event, counts once."""
    key = limited.new_key(name, budget="5/total")
    told = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    counting = [
        event(f"{number}", None).replace('"choices"', f'"usage": {usage}, "choices"')
        for number, usage in enumerate(
            json.dumps({**told, "completion_tokens": count, "total_tokens": 3 + count}) for count in (1, 4)
        )
    ]
    scripts = [
        limited.script(*begin("<think>hm</think>a"), *end(usage_event(3, 7))),
        limited.script(*begin("a"), *end(usage_event(3, 7), usage_event(3, 7))),
        limited.script(*begin(), *(["send", chunked(one)] for one in counting), *end(usage_event(3, 7))),
    ]
    for count, script in enumerate(scripts, 1):
        assert limited.chat(key, script, stream=True, stream_options={"include_usage": True}).status == 200
        entries = limited.settled(name, count)
        assert cost_of(entries) == 10 * count * TOKEN_NANOS


def test_unknown_price_is_zero(limited: Limited, name: str, limited_with: StartLimited) -> None:
    """A model whose price is not known costs an unknown amount, and no budget lets it through unasked."""
    free = limited.new_key(f"{name[:50]}-free")
    assert limited.chat(free, model=UNPRICED).status == 200
    (entry,) = limited.settled(f"{name[:50]}-free", 1)
    assert entry["cost_nanos"] is None
    assert entry["prompt_tokens"] == ORDINARY_TOKENS[0]
    key = limited.new_key(name, budget="1/total")
    answer = limited.chat(key, model=UNPRICED)
    assert (answer.status, answer.error["code"]) == (400, "unpriced_model")
    assert UNPRICED in answer.error["message"]
    tolerant = limited_with(unpriced="allow")
    key = tolerant.new_key(name, budget="1/total")
    assert tolerant.chat(key, model=UNPRICED).status == 200
    (entry,) = tolerant.settled(name, 1)
    assert entry["cost_nanos"] is None


def test_cached_tokens_price(limited: Limited, name: str) -> None:
    """Cached tokens are part of the prompt, and cheaper; reasoning is part of the output."""
    key = limited.new_key(name, budget="10/total")
    details = {"prompt_tokens_details": {"cached_tokens": 80}, "completion_tokens_details": {"reasoning_tokens": 30}}
    script = limited.script(document(100, 50, **details))
    assert limited.chat(key, script, model="parts").status == 200
    (entry,) = limited.settled(name, 1)
    thousandths = 20 * 1 + 80 * 0.1 + 20 * 2 + 30 * 3
    assert entry["cost_nanos"] == round(thousandths * TOKEN_NANOS)
    assert (entry["prompt_tokens"], entry["cached_tokens"]) == (100, 80)
    assert (entry["completion_tokens"], entry["reasoning_tokens"]) == (50, 30)


def test_deadlock_drops_spend(limited_with: StartLimited) -> None:
    """Many keys that share a team and the house's limits: every sum is right to the billionth."""
    limited = limited_with(
        teams={"crew": {"budget": "1000/total", "tpm": 10_000_000}},
        limits={"rpm": 100_000, "budget": "1000/total"},
        models={"m1": {"tpm": 10_000_000}, "bounded": {"tpm": 10_000_000}},
    )
    keys = [limited.new_key(f"key-{number}", team="crew", rpm=100_000, budget="9/day") for number in range(8)]

    def work(number: int) -> int:
        answer = limited.chat(keys[number % 8], model=["m1", "bounded"][number % 2], stream=number % 3 == 0)
        return answer.status

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(work, range(240))) == {200}
    entries = eventually(lambda: rows if len(rows := read_ledger(limited.state)) >= 240 else None)
    assert (len(entries), cost_of(entries)) == (240, 2400 * TOKEN_NANOS)
    assert {
        name: len([one for one in entries if one["key_name"] == name]) for name in {e["key_name"] for e in entries}
    } == {f"key-{number}": 30 for number in range(8)}


def test_spend_after_crash(limited_with: StartLimited, name: str) -> None:
    """What was spent is there after everything was killed."""
    limited = limited_with()
    key = limited.new_key(name, budget="1.5/month", reserve="max")
    script = limited.script(*held(document(3, 1000)))
    with limited.send(key, script, max_tokens=1000) as client:
        limited.upstream_has(script, 1)
        limited.upstream.open(script)
        assert client.answer().status == 200
    limited.settled(name, 1)
    limited.kill()
    again = limited_with()
    assert cost_of(again.entries(name)) == 1003 * TOKEN_NANOS
    assert again.chat(key, max_tokens=1000).status == 429
    assert again.chat(key, max_tokens=10).status == 200
