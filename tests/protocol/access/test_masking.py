from __future__ import annotations

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from copy import deepcopy
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.access.masking import DEEPEST, Masker, is_masked, mask_json, mask_setting, mask_urls
from argoproxy.protocol.access.secrets import CREDENTIAL_FIELDS

SECRET = "sk-proj-abc/def"
PICTURE = Random(1).randbytes(57 * 53)
CODED = b64encode(PICTURE).decode()
LINES = encodebytes(PICTURE).decode()
URL = f"data:image/png;base64,{CODED}"
SHORT = b64encode(PICTURE[:120]).decode()
WORDS = "Nothing of what people say to each other is ever made shorter. " * 20


def nested(depth: int, inner: Any) -> Any:
    for number in range(depth):
        inner = [inner] if number % 2 else {"a": inner}
    return inner


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text().filter(lambda name: name.lower() not in CREDENTIAL_FIELDS), inner)
    ),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "data:image/png;base64,… (4028 characters)"),
        (f"data:;base64,{CODED}", "data:;base64,… (4028 characters)"),
        (f"![a]({URL}) and {URL}.", "![a](data:image/png;base64,… (4028 characters)) and "
         "data:image/png;base64,… (4028 characters)."),
        (json.dumps({"url": URL}), '{"url": "data:image/png;base64,… (4028 characters)"}'),
        (f"data:a/b;base64,{LINES.rstrip()}", f"data:a/b;base64,… ({len(LINES) - 1} characters)"),
        (f"data:a/b;base64,{LINES}Fine!", f"data:a/b;base64,… ({len(LINES) - 1} characters)\nFine!"),
        (f"data:a/b;base64,{LINES}{SHORT[:40]}", f"data:a/b;base64,… ({len(LINES) - 1} characters)\n{SHORT[:40]}"),
        (f"data:a/b;base64,{urlsafe_b64encode(PICTURE).decode().replace('=', '%3D')}",
         "data:a/b;base64,… (4028 characters)"),
    ],
)  # fmt: skip
def test_data_urls_are_shortened_wherever_they_stand(text: str, shown: str) -> None:
    assert mask_json({"content": [{"image_url": text}]}, ()) == {"content": [{"image_url": shown}]}
    assert mask_json(f"<{text}>", ()) == f"<{shown}>"


def places(value: Any) -> list[Any]:
    """Give what providers put base64 into."""
    return [
        {"input_audio": {"data": value, "format": "wav"}},
        {"file": {"file_data": value, "filename": "a.pdf"}},
        {"message": {"audio": {"id": "a", "data": value, "transcript": "Hello."}}},
        {"data": [{"embedding": value, "index": 0}]},
        {"data": [{"b64_json": value}]},
        {"source": {"type": "base64", "media_type": "image/png", "data": value}},
        {"inlineData": {"mimeType": "image/png", "data": value}},
        {"thinking": "Well.", "signature": value},
        {"type": "reasoning", "encrypted_content": value},
        {"role": "user", "content": "What is it?", "images": [value, value]},
    ]


@pytest.mark.parametrize("coded", [CODED, LINES, urlsafe_b64encode(PICTURE).decode(), "A" * 5000])
def test_base64_is_shortened_where_providers_put_it(coded: str) -> None:
    for before, after in zip(places(coded), places(f"… ({len(coded)} characters)"), strict=True):
        assert mask_json(before, ()) == after
        assert is_masked(json.dumps(after, ensure_ascii=False))


@pytest.mark.parametrize(
    "text",
    [
        WORDS,
        WORDS.replace(" ", "\n"),
        f"{WORDS};base64, {WORDS}",
        "没有人会缩短人们彼此说的话" * 50,
        f"data:image/png;base64,{SHORT}",
        f"data:image/png;base64,{SHORT}\n{WORDS}",
        SHORT,
        "https://example.org/" + "a" * 300,
        json.dumps({"data": "b" * 300}),
    ],
)
def test_words_and_what_is_short_stay(text: str) -> None:
    for value in (text, [text], {"content": text, "data": text, "images": [text]}, places(text)):
        assert mask_json(value, (SECRET,)) is value
    assert not is_masked(text)


def test_base64_stays_where_anything_may_stand() -> None:
    message = {"role": "assistant", "content": CODED, "tool_calls": [{"function": {"arguments": CODED}}]}
    assert mask_json(message, ()) is message


def test_vectors_are_shortened() -> None:
    vector = [0.25 * number for number in range(1536)]
    shown = [0.0, 0.25, 0.5, "… (1536 numbers)"]
    assert mask_json({"data": [{"embedding": vector}]}, ()) == {"data": [{"embedding": shown}]}
    assert mask_json({"embedding": [vector, vector]}, ()) == {"embedding": [shown, shown]}
    assert mask_json({"embeddings": [vector]}, ()) == {"embeddings": [shown]}


@pytest.mark.parametrize(
    "value",
    [
        {"input": list(range(1000))},
        {"embedding": [0.5] * 8},
        {"embedding": [0.5] * 20 + ["odd"]},
        {"logprobs": {"bytes": [32] * 50, "token": "x"}},
    ],
)
def test_other_lists_stay(value: Any) -> None:
    assert mask_json(value, ()) is value


@pytest.mark.parametrize("spelled", [SECRET, SECRET.replace("/", "\\/")])
def test_secrets_are_starred_wherever_they_stand(spelled: str) -> None:
    stars = "*" * len(spelled)
    before = {"a": [f"It is {spelled}, {spelled}!", {f"key {spelled}": {"b": spelled}, "c": 1}], "d": 2}
    after = {"a": [f"It is {stars}, {stars}!", {f"key {stars}": {"b": stars}, "c": 1}], "d": 2}
    kept = deepcopy(before)
    assert mask_json(before, ("other-secret", SECRET)) == after
    assert before == kept


def test_the_longer_of_two_secrets_is_starred_first() -> None:
    for secrets in product((SECRET, f"{SECRET}-2"), repeat=2):
        assert mask_json(f"{SECRET}-2", (*secrets, f"{SECRET}-2")) == "*" * len(f"{SECRET}-2")


def test_a_secret_that_would_be_found_in_ordinary_text_is_left() -> None:
    value = {"content": "a key is a key"}
    assert mask_json(value, ("key", "")) is value


def test_credentials_in_a_body_are_starred() -> None:
    tool = {"type": "mcp", "headers": {"Authorization": "Bearer x", "X-API-Key": ["y"]}, "authorization": "z"}
    assert mask_json({"tools": [tool]}, ()) == {
        "tools": [{"type": "mcp", "headers": {"Authorization": "***", "X-API-Key": ["***"]}, "authorization": "***"}]
    }
    schema = {"properties": {"api_key": {"type": "string"}}, "authorization": ""}
    assert mask_json(schema, ()) is schema


def test_what_changes_is_a_copy_and_what_does_not_is_the_same() -> None:
    same = {"role": "user", "content": [1, 2.5, None, True]}
    before: dict[str, Any] = {"messages": [same, {"image": URL}], "other": same, "stream": False}
    kept = deepcopy(before)
    after = mask_json(before, ())
    assert before == kept
    assert after["messages"][0] is after["other"] is same
    assert after["messages"][1] == {"image": "data:image/png;base64,… (4028 characters)"}
    assert list(after) == list(before)


def test_what_is_nested_too_deeply_is_cut() -> None:
    assert mask_json(nested(5000, 1), ()) == nested(DEEPEST, "…")
    assert mask_json(nested(DEEPEST, SECRET), (SECRET,)) == nested(DEEPEST, "*" * len(SECRET))


@given(json_values)
def test_ordinary_values_are_the_same(value: Any) -> None:
    assert mask_json(value, (SECRET,)) is value


@given(json_values, st.text('xyz/"<é\\', min_size=6))
def test_no_secret_is_left(value: Any, secret: str) -> None:
    text = json.dumps(mask_json(nested(3, [value, secret, {secret: f"{secret}{secret}"}]), (secret,)))
    assert json.dumps(secret)[1:-1] not in text


def test_secrets_in_names_are_starred_plainly_or_escaped() -> None:
    masker = Masker([SECRET, "short", "sk-proj-abc/def-and-more", "sk-\ud800-lone"])
    stars = "*" * len(SECRET)
    assert masker.mask_text((), f"/v1/{SECRET}/x") == f"/v1/{stars}/x"
    assert masker.mask_text((), "sk-proj-abc%2Fdef") == "*" * len("sk-proj-abc%2Fdef")
    assert masker.mask_text((), f"{SECRET}-and-more") == "*" * len(f"{SECRET}-and-more")
    assert masker.mask_text((), "a short name") == "a short name"
    assert masker.mask_text(["client-key"], "a client-key b") == "a ********** b"
    assert Masker().mask_text((), SECRET) == SECRET
    assert Masker().mask_text((), "") == ""
    assert masker.mask_text(["a key that is longer"], "short") == "short"


def test_keys_of_the_request_are_starred_in_bodies_too() -> None:
    masker = Masker([SECRET])
    body = {"a": [SECRET, "their-key"]}
    assert masker.mask_body(body, ["their-key"]) == {"a": ["*" * len(SECRET), "*" * 9]}
    assert masker.mask_body(body, [SECRET]) == masker.mask_body(body) == {"a": ["*" * len(SECRET), "their-key"]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:word@a/x", "http://****@a/x"),
        ("http://a/?key=k&v=1&sig=s#x", "http://a/?key=****&v=1&sig=****#x"),
        ("no URL", "no URL"),
    ],
)
def test_credentials_in_urls_are_starred(text: str, shown: str) -> None:
    assert mask_urls(text) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("api_key", "sk-1", "****"),
        ("api_key", "${KEY}", "${KEY}"),
        ("api_key", ["sk-1", {"a": "sk-2"}, 5], ["****", {"a": "****"}, 5]),
        ("upstreams", {"a": {"api_key": "sk-1", "base_url": "http://me:word@a"}},
         {"a": {"api_key": "****", "base_url": "http://****@a"}}),
        ("tokens", {"a": "b"}, {"a": "b"}),
        ("options", {"tokens": {"a": "b"}, "size": 1, "user": "me"},
         {"tokens": {"a": "****"}, "size": 1, "user": "me"}),
        ("names", ["a", "http://me:word@a"], ["a", "http://****@a"]),
        ("llm_params", "model=a,api_key='s,k',max_tokens=5;model=b,access_token=x",
         "model=a,api_key=****,max_tokens=5;model=b,access_token=****"),
        ("port", 5000, 5000),
    ],
)  # fmt: skip
def test_secrets_in_settings_are_starred(name: str, value: Any, shown: Any) -> None:
    assert mask_setting(name, value, lambda text: text.startswith("${")) == shown
