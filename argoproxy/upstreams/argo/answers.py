"""The gateway's answers as OpenAI's clients know them: chunks, documents, and tokens that are an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.upstreams.argo.messages import spoken_to
from argoproxy.upstreams.argo.replies import Answer
from argoproxy.upstreams.argo.token_estimate import estimated_usage

#: The first delta of a chat.
WHO_SPEAKS = {"role": "assistant", "content": "", "refusal": None}


def chunked(texts: Iterable[str], call: Call) -> Iterator[Batch]:
    """Give a stream: the role once, the text as it comes, the end, and usage where it was asked for."""
    top, said = _top(call, "chat.completion.chunk"), list[str]()
    for text in texts:
        if not text:
            yield []
            continue
        first = (
            []
            if said or _is_legacy(call)
            else [_chunk(top, {"delta": {"role": "assistant", "content": "", "refusal": None}})]
        )
        said.append(text)
        yield [*first, _chunk(top, {"text": text} if _is_legacy(call) else {"delta": {"content": text}})]
    last = [_chunk(top, {"text": ""} if _is_legacy(call) else {"delta": {}}, "stop")]
    if call.include_usage:
        usage = estimated_usage(spoken_to(call.body), "".join(said))
        last.append(Event.of({**top, "choices": [], "usage": usage}))
    yield [*last, DONE]


def document(answer: Answer, call: Call) -> Document:
    """Give a whole completion."""
    finish_reason = "tool_calls" if answer.calls else "stop"
    choice = {"index": 0, **_spoken(answer, call), "logprobs": None, "finish_reason": finish_reason}
    said = " ".join([answer.text, *map(_words_of, answer.calls)])
    usage = estimated_usage(spoken_to(call.body), said)
    return Document.of({**_top(call, "chat.completion"), "choices": [choice], "usage": usage})


def _spoken(answer: Answer, call: Call) -> Json:
    if _is_legacy(call):
        return {"text": answer.text}
    content = answer.text if answer.text or not answer.calls else None
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    return {"message": {**message, "tool_calls": answer.calls} if answer.calls else message}


def _chunk(top: Json, part: Json, finish_reason: str | None = None) -> Event:
    choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish_reason}
    return Event.of({**top, "choices": [choice]})


def _top(call: Call, of_a_chat: str) -> Json:
    return {
        "id": f"{'cmpl' if _is_legacy(call) else 'chatcmpl'}-{call.id}",
        "object": "text_completion" if _is_legacy(call) else of_a_chat,
        "created": call.created,
        "model": call.requested_model,
    }


def _is_legacy(call: Call) -> bool:
    return call.path == COMPLETIONS.path


def _words_of(tool_call: Json) -> str:
    return f"{tool_call['function']['name']} {tool_call['function']['arguments']}"
