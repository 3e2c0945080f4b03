"""Turn the gateway's replies into OpenAI's completions: a document, or the chunks of a stream.

The gateway sends no usage, so tokens are estimated from the text, with no tokenizer and no network. Compared with
cl100k and o200k the estimate is within a tenth for English prose, code and JSON, and within a third for most other
languages. Documentation and messages must call it an estimate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.upstreams.argo.messages import prompt_text
from argoproxy.upstreams.argo.replies import Answer

_FIRST_IDEOGRAPH = "\u2e80"
_LETTERS_PER_TOKEN = 8
# Without the lookbehind every blank of a long run would be tried as the start of a line end, which is quadratic.
_PIECE = re.compile(r"(?P<word>[^\W\d_]+)|(?P<number>\d{1,3})|(?P<line>(?<!\s)\s*\n)|(?P<sign>[^\w\s]+|_)")


def make_chunks(texts: Iterable[str], call: Call) -> Iterator[Batch]:
    """Yield a stream: the role once, the text as it arrives, the finish reason, and usage if it was requested."""
    common, sent = _common_fields(call, "chat.completion.chunk"), list[str]()
    for text in texts:
        if not text:
            yield []
            continue
        first = (
            []
            if sent or _is_legacy(call)
            else [_make_chunk(common, {"delta": {"role": "assistant", "content": "", "refusal": None}})]
        )
        sent.append(text)
        yield [*first, _make_chunk(common, {"text": text} if _is_legacy(call) else {"delta": {"content": text}})]
    last = [_make_chunk(common, {"text": ""} if _is_legacy(call) else {"delta": {}}, "stop")]
    if call.include_usage:
        usage = estimate_usage(prompt_text(call.body), "".join(sent))
        last.append(Event.of({**common, "choices": [], "usage": usage}))
    yield [*last, DONE]


def make_document(answer: Answer, call: Call) -> Document:
    """Return a whole completion."""
    finish_reason = "tool_calls" if answer.calls else "stop"
    choice = {"index": 0, **_message_or_text(answer, call), "logprobs": None, "finish_reason": finish_reason}
    text = " ".join([answer.text, *map(_call_text, answer.calls)])
    usage = estimate_usage(prompt_text(call.body), text)
    return Document.of({**_common_fields(call, "chat.completion"), "choices": [choice], "usage": usage})


def _message_or_text(answer: Answer, call: Call) -> Json:
    if _is_legacy(call):
        return {"text": answer.text}
    content = answer.text if answer.text or not answer.calls else None
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    return {"message": {**message, "tool_calls": answer.calls} if answer.calls else message}


def _make_chunk(common: Json, part: Json, finish_reason: str | None = None) -> Event:
    choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish_reason}
    return Event.of({**common, "choices": [choice]})


def _common_fields(call: Call, chat_object: str) -> Json:
    return {
        "id": f"{'cmpl' if _is_legacy(call) else 'chatcmpl'}-{call.id}",
        "object": "text_completion" if _is_legacy(call) else chat_object,
        "created": call.created,
        "model": call.requested_model,
    }


def _is_legacy(call: Call) -> bool:
    return call.path == COMPLETIONS.path


def _call_text(tool_call: Json) -> str:
    return f"{tool_call['function']['name']} {tool_call['function']['arguments']}"


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of a text: at least 1, 0 for an empty one."""
    return max(1, round(sum(map(_token_weight, _PIECE.finditer(text))))) if text else 0


def estimate_usage(prompt: str, completion: str) -> Json:
    """Estimate the usage of a completion."""
    prompt_tokens, completion_tokens = estimate_tokens(prompt), estimate_tokens(completion)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _token_weight(match: re.Match[str]) -> float:
    piece, length = match.group(), match.end() - match.start()
    if match.lastgroup == "number":
        return 1.0
    if match.lastgroup == "line":
        return 0.7
    if match.lastgroup == "sign":
        return 0.55 + 0.15 * length if piece.isascii() else 1.5 * length
    if piece.isascii():
        return 1.0 + (length - 1) // _LETTERS_PER_TOKEN
    return 0.9 * length if piece[0] >= _FIRST_IDEOGRAPH else max(1.0, length / 3.5)
