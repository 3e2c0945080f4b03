"""Build the gateway's request body from a client's, in the form of the model's family.

The gateway accepts `messages`, or `system` with a list of `prompt`. If it gets both, it replies with status 200 and a
sentence about that in place of an answer. Source: "Argo API Documentation", 20 October 2025.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dicts
from argoproxy.upstreams.argo.model_ids import model_family
from argoproxy.upstreams.argo.tools import convert_tools

#: Above this limit the gateway requires a stream for Claude.
MAX_WHOLE_CLAUDE_TOKENS = 21_000

#: These models refuse the role `system`.
_NO_SYSTEM_ROLE = frozenset(("gpto1preview", "gpto1mini"))
#: The URL decides whether the reply is a stream.
_STREAM_FIELDS = frozenset(("stream", "stream_options"))
_CHAT_FIELDS = frozenset(("messages", "tools", "tool_choice", "parallel_tool_calls"))
#: Claude and Gemini refuse a conversation without a user message.
_CONTINUE = "[continue]"


def chat_body(body: Json, model_id: str) -> Json:
    """Return the body of a chat. Raises BadRequest."""
    if not isinstance(body.get("messages"), list):
        if "messages" in body or "prompt" not in body:
            raise BadRequest("`messages` must be a list of messages.", param="messages")
        return prompt_body(body, model_id)
    kept = {key: value for key, value in body.items() if key not in _STREAM_FIELDS | {"prompt", "system"}}
    converted = {**kept, "messages": _convert_messages(body["messages"], model_id)}
    return convert_tools(model_family(model_id), _rename_token_limit(converted, model_id))


def prompt_body(body: Json, model_id: str) -> Json:
    """Return the body of a legacy completion; a list of prompts stays a list. Raises BadRequest."""
    prompt = body.get("prompt")
    texts = prompt if isinstance(prompt, list) else [prompt]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            "`prompt` must be a string or a list of strings; the Argo gateway does not accept tokens.", param="prompt"
        )
    kept = {key: value for key, value in body.items() if key not in _STREAM_FIELDS | _CHAT_FIELDS}
    return _rename_token_limit(_without_system({**kept, "prompt": texts}, model_id), model_id)


def raw_body(body: Json, model_id: str) -> Json:
    """Return the body of a request to `/v1/chat`, which is in the gateway's own form already. Raises BadRequest."""
    if "messages" in body and ("prompt" in body or "system" in body):
        raise BadRequest("`messages` can't be sent together with `system` or `prompt`.", param="messages")
    if isinstance(body.get("prompt"), str):
        body = {**body, "prompt": [body["prompt"]]}
    return _without_system(body, model_id)


def prompt_text(body: Json) -> str:
    """Return all text of a request, to estimate its tokens."""
    messages = as_dicts(body.get("messages"))
    contents = [*(message.get("content") for message in messages), body.get("system"), body.get("prompt")]
    return "\n".join(filter(None, map(_text, contents)))


def _convert_messages(messages: list[Any], model_id: str) -> list[Any]:
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequest("A message must be an object.", param=f"messages[{place}]")
    family = model_family(model_id)
    converted = [_convert_message(message, model_id) for message in messages]
    if family != "gpt" and not any(message.get("role") in ("user", "tool") for message in converted):
        converted.append({"role": "user", "content": _CONTINUE})
    return converted


def _convert_message(message: Json, model_id: str) -> Json:
    """Return a message with a role and a content that its model accepts; the same object if nothing changes."""
    role, content = message.get("role"), message.get("content")
    if role in ("system", "developer"):
        role = "user" if model_id in _NO_SYSTEM_ROLE else "system"
        if model_family(model_id) == "gemini" and isinstance(content, list):
            content = _text(content)
    content = "" if content is None else content
    changed = role != message.get("role") or content is not message.get("content")
    return {**message, "role": role, "content": content} if changed else message


def _without_system(body: Json, model_id: str) -> Json:
    """Move `system` to the first prompts, and the role `system` to `user`, for models that refuse it."""
    if model_id not in _NO_SYSTEM_ROLE:
        return body
    if isinstance(body.get("messages"), list):
        messages = [_convert_message(item, model_id) if isinstance(item, dict) else item for item in body["messages"]]
        return {**body, "messages": messages}
    if "system" not in body or not isinstance(body.get("prompt"), list):
        return body
    system = body["system"] if isinstance(body["system"], list) else [body["system"]]
    rest = {key: value for key, value in body.items() if key != "system"}
    return {**rest, "prompt": [*(text for text in system if text), *body["prompt"]]}


def _rename_token_limit(body: Json, model_id: str) -> Json:
    """Send the limit of tokens under the name that the model's family accepts. The o-series and GPT-5 do not
    accept `max_tokens`, Claude and Gemini do not know `max_completion_tokens`. Source: the same documentation."""
    counts_completion = model_id.startswith(("gpto", "gpt5"))
    other, accepted = (
        ("max_tokens", "max_completion_tokens") if counts_completion else ("max_completion_tokens", "max_tokens")
    )
    if model_family(model_id) == "gpt" and not counts_completion:
        return body
    if body.get(other) is None:
        return body
    rest = {key: value for key, value in body.items() if key != other}
    return {**rest, accepted: body[other] if body.get(accepted) is None else body[accepted]}


def limit_whole_reply(body: Json, model_id: str) -> Json:
    """Lower Claude's limit of tokens in a request that is not streamed: the gateway refuses a higher one."""
    limit = body.get("max_tokens")
    if model_family(model_id) != "claude" or not isinstance(limit, int) or limit <= MAX_WHOLE_CLAUDE_TOKENS:
        return body
    return {**body, "max_tokens": MAX_WHOLE_CLAUDE_TOKENS}


def _text(content: Any) -> str:
    """Return the text of a content: a string, a list of strings, or parts."""
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n\n".join(text for text in texts if isinstance(text, str))
