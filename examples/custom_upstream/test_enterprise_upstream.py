from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from enterprise_redaction import REDACTED
from enterprise_upstream import Enterprise

from argoproxy.api import (
    BadRequest,
    Batch,
    BytesBody,
    Call,
    ClientRequest,
    Document,
    Headers,
    UpstreamProtocolError,
    UpstreamStatus,
    apply_filters,
    make_call,
)

HOME, EU, US = "http://home.test/v1", "http://eu.test/v1", "https://us.test/llm/v1"
CONTEXT = "You answer on behalf of the enterprise."
SYSTEM = {"role": "system", "content": CONTEXT}
HI = {"role": "user", "content": "Hi"}
ENTERPRISE = Enterprise(base_url=HOME, regions={"eu": EU, "us": US}, context=CONTEXT, redact=[r"\w+@\w+\.com"])


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply as the transport hands it on."""

    body: tuple[bytes, ...]
    status: int = 200
    headers: Headers = ()

    def iter_bytes(self) -> Iterator[bytes]:
        yield from self.body

    def iter_raw(self) -> Iterator[bytes]:
        yield from self.body

    def read(self) -> bytes:
        return b"".join(self.body)


def asked(path: str, *headers: tuple[str, str], method: str = "POST") -> ClientRequest:
    return ClientRequest("id", 1, method, path, "", headers, BytesBody(b""))


def call(*headers: tuple[str, str], path: str = "/v1/chat/completions", **body: Any) -> Call:
    return make_call(asked(path, *headers), {"model": "m", "messages": [HI], **body}, path)


def seen(reply: Sent) -> list[Batch]:
    """Give what a client sees, batch by batch."""
    return list(apply_filters(ENTERPRISE.read_completion(reply, call()), lambda: ENTERPRISE.filters(call())))


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ((), HOME),
        ((("X-Region", "eu"),), EU),
        ((("x-region", " us "),), US),
        ((("X-Region", ""),), HOME),
    ],
)
def test_a_header_names_the_region(headers: Headers, base: str) -> None:
    assert ENTERPRISE.completion_request(call(*headers)).url == f"{base}/chat/completions"
    assert ENTERPRISE.model_list_request(asked("/v1/models", *headers, method="GET")).url == f"{base}/models"


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"X-Region.*known: eu, us") as caught:
        ENTERPRISE.completion_request(call(("X-Region", "mars")))
    assert (caught.value.param, caught.value.code) == ("X-Region", "unknown_region")
    with pytest.raises(BadRequest, match="known: none"):
        Enterprise(base_url=HOME).completion_request(call(("X-Region", "eu")))


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([HI], [SYSTEM, HI]),
        ([SYSTEM, HI], [SYSTEM, HI]),
        ([{"role": "system", "content": "Be brief."}, HI], [SYSTEM, {"role": "system", "content": "Be brief."}, HI]),
        ([], [SYSTEM]),
    ],
)
def test_a_chat_is_told_its_context_once(messages: list[Any], sent: list[Any]) -> None:
    body = ENTERPRISE.completion_request(call(messages=messages)).body
    assert isinstance(body, bytes)
    assert json.loads(body) == {"model": "m", "messages": sent}


def test_a_legacy_prompt_stays_as_it_is() -> None:
    legacy = make_call(asked("/v1/completions"), {"model": "m", "prompt": "Hi"}, "/v1/completions")
    assert ENTERPRISE.completion_request(legacy).body == b'{"model":"m","prompt":"Hi"}'


def test_without_a_context_nothing_is_added() -> None:
    assert Enterprise(base_url=HOME).completion_request(call()).body == call().payload()


def test_a_stream_is_redacted_and_ends() -> None:
    pieces = ("To ann@exa", "mple", ".com now")
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    events = [event for batch in seen(Sent((*body, b"", b"data: [DONE]\n\n"))) for event in batch]
    deltas = [event.chunk["choices"][0]["delta"].get("content", "") for event in events if event.chunk]
    assert "".join(deltas) == f"To {REDACTED} now"
    assert events[-1].raw == b"data: [DONE]\n\n"


def test_a_document_is_redacted() -> None:
    message = {"role": "assistant", "content": "To ann@example.com"}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    ((document,),) = seen(Sent((body,)))
    assert isinstance(document, Document)
    assert document.chunk["choices"][0]["message"]["content"] == f"To {REDACTED}"


def test_a_stream_that_breaks_off_says_so() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    with pytest.raises(UpstreamProtocolError) as caught:
        seen(Sent((b"data: " + json.dumps(chunk).encode() + b"\n\n",)))
    assert caught.value.code == "upstream_stream_cut_short"


def test_an_error_keeps_its_status() -> None:
    error = ENTERPRISE.read_error(401, (), b'{"error": {"message": "The token has expired."}}')
    assert isinstance(error, UpstreamStatus)
    assert (error.status, b"The token has expired." in error.body) == (401, True)


def test_models_are_listed_and_the_home_region_is_probed() -> None:
    listed = b'{"object":"list","data":[]}'
    assert ENTERPRISE.read_model_list(listed, "", 1).raw == listed
    assert ENTERPRISE.probe_request().url == f"{HOME}/models"


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({"base_url": "ftp://x"}, "base_url: "),
        ({"base_url": None}, "base_url: "),
        ({"regions": {"eu": "eu.test"}}, "region 'eu': "),
        ({"regions": {False: EU}}, "the region False is not a string"),
        ({"regions": ["eu"]}, "`regions`"),
        ({"redact": ["("]}, "not a regular expression"),
        ({"context": ["Be brief."]}, "`context`"),
    ],
)
def test_mistakes_in_the_file_are_named(options: Any, mistake: str) -> None:
    with pytest.raises((ValueError, TypeError), match=mistake):
        Enterprise(**{"base_url": HOME, **options})
