"""Every parser and filter that outside bytes come to, and inputs of any size that could make it work hard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import ProxyError
from argoproxy.images.fetch import Fetch, FetchError, FetchLimits
from argoproxy.protocol import http_messages
from argoproxy.protocol.access.allow_list import AllowList, path_may_name_a_model, query_names_a_model
from argoproxy.protocol.access.forms import FormError, fields_of
from argoproxy.protocol.access.masking import Redactor, mask_json
from argoproxy.protocol.access.printable import printable_lines
from argoproxy.protocol.access.secrets import drop_credentials
from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.api.endpoints import Endpoint
from argoproxy.protocol.api.passthrough import record_reply
from argoproxy.protocol.api.schema import validate
from argoproxy.protocol.content import CHAT_IMAGES
from argoproxy.protocol.json_edit import edit_json
from argoproxy.protocol.json_text import JsonError, dumps, loads, parse
from argoproxy.protocol.reasoning.history import strip_history
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair
from argoproxy.protocol.reasoning.reasoning_filters import reasoning_filters
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.stream.assembly import CompletionAssembler
from argoproxy.protocol.stream.chunk_fields import UsageMeter, UsageRemover
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.sse import Document, EventDecoder, event_data
from argoproxy.protocol.stream.tool_calls import ToolCallFilter
from argoproxy.telemetry.journal.recorders import ByteRecorder, EventRecorder, FilteredRecorder
from argoproxy.transport.framing import ChunkedReader, ContentLengthReader, Decompressor
from argoproxy.upstreams.argo.completions import estimate_tokens
from argoproxy.upstreams.argo.messages import chat_body, prompt_text
from argoproxy.upstreams.argo.model_ids import BUILT_IN
from argoproxy.upstreams.argo.replies import parse_reply, read_text_stream
from argoproxy.upstreams.dashscope.completions import make_chunks
from argoproxy.upstreams.dashscope.error_codes import error_from_dashscope_reply
from argoproxy.upstreams.dashscope.messages import multimodal_input, text_input
from argoproxy.upstreams.error_replies import error_from_reply, refuses_mode
from tests.support.dashscope_calls import call
from tests.support.doubles import FakeProgress

Make = Callable[[int], Any]
TAGS = (TagPair(), TagPair("<thought>", "</thought>"))
CHAT = "/v1/chat/completions"
STREAM = (("content-type", "text/event-stream"),)
EXPECTED = (ProxyError, JsonError, FormError, FetchError, ValueError)


@dataclass(frozen=True, slots=True)
class Case:
    """A parser, and a function that makes an input of about so many bytes or items."""

    name: str
    make: Make
    work: Callable[[Any], object]

    def run(self, made: Any) -> None:
        """Let the parser take an input; that it refuses it is fine."""
        with suppress(*EXPECTED):
            found = self.work(made)
            if isinstance(found, Iterator):
                for _ in found:
                    pass


#: Texts to repeat.
RUNS: tuple[str, ...] = (
    " ",
    "\n",
    "\r",
    "a",
    "[",
    "{",
    '"',
    "\\",
    '\\"',
    "<",
    "<think>",
    "</think>",
    "<think>a</think>",
    "data:",
    "\n\n",
)
RUNS += (
    "data: {}\n\n",
    ":\n",
    "://",
    "a://b ",
    "*",
    "0\r\n\r\n",
    "1\r\na\r\n",
    "5;a=b",
    ";base64,",
    "{}",
    "[],",
    "a=1,",
)
RUNS += (
    "stream is ",
    "only stream a ",
    "ACCESS DENIED ",
    "\u4e16",
    "1.",
    "-",
    "'",
    "model=a,b='c';",
    "&a=%61",
    "--b\r\n",
    "/v1/",
)


def text_cases() -> Iterator[Case]:
    """Return what takes a text or bytes, with each of the runs."""
    takers: dict[str, Callable[[bytes], object]] = {
        "sse": _decoded,
        "sse, data": event_data,
        "chunked": lambda text: _fed(ChunkedReader().feed, text),
        "counted": lambda text: _fed(ContentLengthReader(len(text)).feed, text),
        "parse": parse,
        "loads": loads,
        "estimate": lambda text: estimate_tokens(text.decode()),
        "llm_params": lambda text: parse_llm_params(text.decode()),
        "argo, stream": lambda text: read_text_stream(_pieces(text, 7), "replace"),
        "argo, refusal": lambda text: parse_reply(
            dumps({"response": "IMPORTANT AUTHENTICATION NOTICE FROM ARGO ACCESS DENIED " + text.decode()}), "id"
        ),
        "dashscope, error": lambda text: error_from_dashscope_reply(
            400, (), dumps({"code": text.decode(), "message": text.decode()})
        ),
        "dashscope, no error": lambda text: error_from_dashscope_reply(400, (), text),
        "dashscope, stream": lambda text: make_chunks(_pieces(text, 1000), call(stream=True)),
        "failure": lambda text: refuses_mode(error_from_reply(400, (), text)),
        "failure, words": lambda text: refuses_mode(
            error_from_reply(400, (), dumps({"error": {"message": text.decode()}}))
        ),
        "redactor": lambda text: Redactor(b"secret-aaaaaaaaaaaa").redact_stream(_pieces(text, 100)),
        "masking": lambda text: mask_json({"b64_json": text.decode(), "a": text.decode()}, ("secret-a",)),
        "history": lambda text: strip_history([{"role": "assistant", "content": text.decode()}], TAGS),
        "printable": lambda text: printable_lines(text.decode()),
        "query": lambda text: drop_credentials(text.decode()),
        "query, model": lambda text: query_names_a_model(text.decode()),
        "path, model": lambda text: path_may_name_a_model(text.decode()),
        "form": lambda text: fields_of(b"--b\r\n" + text + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        "form, type": lambda text: fields_of(b"--b--", "multipart/form-data; boundary=" + text.decode()),
        "headers": lambda text: http_messages.list_members((("connection", text.decode()),), "connection"),
        "model, argo": lambda text: BUILT_IN.find(text.decode()),
        "model, patterns": lambda text: AllowList(("*a*b*c*", "gpt-*-[0-9]*", "*?*x")).allows(text.decode()),
        "URL": lambda text: Fetch(f"http://127.0.0.1/{text.decode()}", LIMITS).run(),
        "host": lambda text: Fetch(f"http://{text.decode()}/", LIMITS).run(),
        "inflate": lambda text: Decompressor("gzip").feed(text),
        "usage": lambda text: record_reply(_pieces(text, 100), STREAM, Endpoint(CHAT), FakeProgress()),
    }
    for name, work in takers.items():
        for run in RUNS:
            yield Case(f"{name} {run!r}", lambda size, run=run: (run * (size // len(run))).encode(), work)  # type: ignore[misc]


LIMITS = FetchLimits(1.0, 1000, AddressRule(), lambda: None, lambda size: None)  # type: ignore[arg-type, return-value]


def _pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def _decoded(text: bytes) -> None:
    decoder = EventDecoder()
    for piece in _pieces(text, 3):
        decoder.feed(piece)
    decoder.finish()


def _fed(feed: Callable[[bytes], object], text: bytes) -> None:
    for piece in _pieces(text, 16_000):
        feed(piece)


def delta(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None, **more}]}


def fragment(index: int | None, **fields: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{**place, **fields}]}}]}


#: What an event may say, by its number.
EVENTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "text": lambda n: delta("a"),
    "blank": lambda n: delta(" "),
    "tag": lambda n: delta("<think>"),
    "tags": lambda n: delta("<think>a</think>"),
    "begun tag": lambda n: delta("<"),
    "empty": lambda n: delta("", logprobs={"content": [{"token": ""}]}),
    "tokens": lambda n: delta("<t", logprobs={"content": [{"token": "<t"}]}),
    "parts": lambda n: delta([{"type": "text", "text": "a"}]),
    "thought": lambda n: {"choices": [{"index": 0, "delta": {"reasoning_content": "a"}}]},
    "details": lambda n: {
        "choices": [{"index": 0, "delta": {"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}}]
    },
    "choices": lambda n: {"choices": [{"index": n, "delta": {"content": "a<"}}]},
    "keys": lambda n: {"choices": [{"index": 0, f"k{n}": n, "delta": {f"d{n}": n}}], f"t{n}": n},
    "calls": lambda n: fragment(n, id=f"c{n}", function={"name": "f", "arguments": "{}"}),
    "arguments": lambda n: fragment(0, function={"arguments": "a"}),
    "no index": lambda n: fragment(None, id=f"c{n}", function={"name": "f", "arguments": {}}),
    "usage": lambda n: {"choices": [], "usage": {"prompt_tokens": n}},
    "lists": lambda n: {
        "choices": [{"index": 0, "delta": {"annotations": [n]}, "logprobs": {"content": [{"token": "a"}]}}]
    },
}


def events_of(event: Callable[[int], dict[str, Any]], count: int) -> list[Any]:
    decoder = EventDecoder()
    return [decoder.feed(b"data: " + dumps(event(number)) + b"\n\n") for number in range(count)]


def stream_cases() -> Iterator[Case]:
    """Return the filters, with streams of each kind of event; a run makes an event of about a hundred bytes of size."""
    policies = [
        ReasoningSettings(policy, tags=TAGS, opening=opening) for policy in (None, *Reasoning) for opening in Opening
    ]
    filters: dict[str, Callable[[], Iterable[Any]]] = {
        "think": lambda: reasoning_filters(ReasoningSettings()),
        "tool calls": lambda: [ToolCallFilter()],
        "usage": lambda: [UsageMeter(lambda usage: None), UsageRemover()],
        "journal": _ears,
        **{f"{one.policy} {one.opening}": lambda one=one: reasoning_filters(one) for one in policies},  # type: ignore[misc]
    }
    for kind, event in EVENTS.items():
        for name, make in filters.items():
            yield Case(
                f"{name}, {kind}",
                lambda size, event=event: events_of(event, size // 16),  # type: ignore[misc]
                lambda batches, make=make: _through(list(make()), batches),  # type: ignore[misc]
            )
        yield Case(f"assembly, {kind}", lambda size, event=event: [event(n) for n in range(size // 16)], _assembled)  # type: ignore[misc]
        yield Case(f"journal's bytes, {kind}", lambda size, event=event: events_of(event, size // 16), _heard)  # type: ignore[misc]


def _ears() -> list[Any]:
    first = EventRecorder()
    return [first, FilteredRecorder(first)]


def _through(filters: list[Any], batches: list[Any]) -> None:
    for batch in batches:
        for one in filters:
            batch = one.feed(batch)
    for one in filters:
        one.finish()


def _assembled(chunks: list[dict[str, Any]]) -> None:
    assembly = CompletionAssembler()
    for chunk in chunks:
        assembly.add(chunk)
    for _ in split_completion(assembly.document()):
        pass


def _heard(batches: list[Any]) -> None:
    recorder = ByteRecorder(STREAM)
    for batch in batches:
        for event in batch:
            recorder.add(event.raw)
    recorder.result()


def _conversation(count: int) -> list[dict[str, Any]]:
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(count)]
    results = [{"role": "tool", "tool_call_id": f"c{count - n}", "content": "a"} for n in range(count)]
    return [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": calls, "x": "a" * count}, *results]


def document_cases() -> Iterator[Case]:
    """Return what takes parsed documents."""
    bodies: dict[str, Make] = {
        "messages": lambda n: {"model": "m", "messages": [{"role": "system", "content": "a"}] * n},
        "parts": lambda n: {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * n}],
        },
        "images": lambda n: {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}] * n}],
        },
        "calls": lambda n: {"model": "m", "messages": _conversation(n)},
        "tools": lambda n: {
            "model": "m",
            "messages": [],
            "tools": [{"type": "function", "function": {"name": "f"}}] * n,
        },
        "keys": lambda n: {
            "model": "m",
            "messages": [{"role": "user", "content": "a"}],
            **{f"k{i}": i for i in range(n)},
        },
        "stop": lambda n: {"model": "m", "messages": [{"role": "user", "content": "a"}], "stop": ["a"] * n},
        "bias": lambda n: {"model": "m", "messages": [], "logit_bias": {str(i): 1 for i in range(n)}},
    }
    takers: dict[str, Callable[[dict[str, Any]], object]] = {
        "validate": lambda body: validate(body, CHAT),
        "edit": lambda body: edit_json(dumps(body), body, {**body, "model": "other", "k0": 1, "messages": []}),
        "edit, messages": lambda body: edit_json(
            dumps(body), body, {**body, "messages": list(map(dict, body["messages"]))}
        ),
        "images": lambda body: CHAT_IMAGES.replace(body, {image.place: "b" for image in CHAT_IMAGES.find(body)}),
        "history": lambda body: strip_history(body["messages"], TAGS),
        "argo, gpt": lambda body: chat_body(body, "gpt4o"),
        "argo, claude": lambda body: chat_body(body, "claudeopus4"),
        "argo, gemini": lambda body: dumps(chat_body(body, "gemini25pro")),
        "argo, text": prompt_text,
        "dashscope, text": text_input,
        "dashscope, multimodal": multimodal_input,
        "masking": lambda body: mask_json(body, ("secret-a",)),
    }
    for kind, make in bodies.items():
        for name, work in takers.items():
            yield Case(f"{name}, {kind}", lambda size, make=make: make(size // 16), work)  # type: ignore[misc]
    listed = lambda size: {"data": [{"id": f"m{n}", "internal_id": f"i{n}"} for n in range(size // 16)]}  # noqa: E731
    yield Case("argo, list", listed, BUILT_IN.with_list)
    yield Case("document", lambda size: _document(size // 16), lambda document: list(split_completion(document)))
    yield Case(
        "document, think",
        lambda size: [[Document.of(_document(size // 16))]],
        lambda batch: _through([*reasoning_filters(ReasoningSettings())], batch),
    )


def _document(count: int) -> dict[str, Any]:
    choices = [{"index": n, "message": {"role": "assistant", "content": "<think>a</think>b"}} for n in range(count)]
    return {"id": "c" * count, "model": "m", "choices": choices, **{f"k{n}": n for n in range(count)}}


CASES = {case.name: case for case in (*text_cases(), *stream_cases(), *document_cases())}
