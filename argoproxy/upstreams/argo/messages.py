"""What goes to Argo's gateway: a client's body, as the gateway and the families behind it take it.

The gateway takes `messages`, or `system` with a list of `prompt`, never both: given both it answers with a sentence
about that under a status of success. Source: "Argo API Documentation", 20 October 2025.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dicts
from argoproxy.upstreams.argo.models import family_of
from argoproxy.upstreams.argo.tools import with_tools_for

#: More than this many tokens Claude gives in streams only.
LONGEST_WHOLE_CLAUDE = 21_000

_NO_SYSTEM_ROLE = frozenset(("gpto1preview", "gpto1mini"))
_OURS_TO_SAY = frozenset(("stream", "stream_options"))
_OF_CHATS = frozenset(("messages", "tools", "tool_choice", "parallel_tool_calls"))
_CONTINUE = "[continue]"


def chat_body(body: Json, model_id: str) -> Json:
    """Give the body of a chat. Raises BadRequest."""
    if not isinstance(body.get("messages"), list):
        if "messages" in body or "prompt" not in body:
            raise BadRequest("`messages` must be a list of messages.", param="messages")
        return prompt_body(body, model_id)
    kept = {key: value for key, value in body.items() if key not in _OURS_TO_SAY | {"prompt", "system"}}
    shaped = {**kept, "messages": _messages(body["messages"], model_id)}
    return with_tools_for(family_of(model_id), _limits(shaped, model_id))


def prompt_body(body: Json, model_id: str) -> Json:
    """Give the body of a legacy completion: a list of prompts goes up as the list it is. Raises BadRequest."""
    prompt = body.get("prompt")
    texts = prompt if isinstance(prompt, list) else [prompt]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            "`prompt` must be a string or a list of strings; this gateway takes no tokens.", param="prompt"
        )
    kept = {key: value for key, value in body.items() if key not in _OURS_TO_SAY | _OF_CHATS}
    return _limits(_without_system({**kept, "prompt": texts}, model_id), model_id)


def raw_body(body: Json, model_id: str) -> Json:
    """Give the body of a request in the gateway's own words, which are kept. Raises BadRequest."""
    if "messages" in body and ("prompt" in body or "system" in body):
        raise BadRequest("`messages` can't be sent together with `system` or `prompt`.", param="messages")
    if isinstance(body.get("prompt"), str):
        body = {**body, "prompt": [body["prompt"]]}
    return _without_system(body, model_id)


def spoken_to(body: Json) -> str:
    """Give all text of a body that a model reads, to estimate its tokens."""
    messages = body.get("messages")
    said = as_dicts(messages)
    contents = [*(message.get("content") for message in said), body.get("system"), body.get("prompt")]
    return "\n".join(filter(None, map(_text, contents)))


def _messages(messages: list[Any], model_id: str) -> list[Any]:
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequest("A message must be an object.", param=f"messages[{place}]")
    family = family_of(model_id)
    shaped = [_message(message, model_id) for message in messages]
    if family != "gpt" and not any(message.get("role") in ("user", "tool") for message in shaped):
        shaped.append({"role": "user", "content": _CONTINUE})
    return shaped


def _message(message: Json, model_id: str) -> Json:
    """Give a message with a role and a content that its model takes; the very same one where it is so already."""
    role, content = message.get("role"), message.get("content")
    if role in ("system", "developer"):
        role = "user" if model_id in _NO_SYSTEM_ROLE else "system"
        if family_of(model_id) == "gemini" and isinstance(content, list):
            content = _text(content)
    content = "" if content is None else content
    changed = role != message.get("role") or content is not message.get("content")
    return {**message, "role": role, "content": content} if changed else message


def _without_system(body: Json, model_id: str) -> Json:
    """Put `system` in front of the prompts, and its role aside, for models that know none."""
    if model_id not in _NO_SYSTEM_ROLE:
        return body
    if isinstance(body.get("messages"), list):
        messages = [_message(item, model_id) if isinstance(item, dict) else item for item in body["messages"]]
        return {**body, "messages": messages}
    if "system" not in body or not isinstance(body.get("prompt"), list):
        return body
    system = body["system"] if isinstance(body["system"], list) else [body["system"]]
    rest = {key: value for key, value in body.items() if key != "system"}
    return {**rest, "prompt": [*(text for text in system if text), *body["prompt"]]}


def _limits(body: Json, model_id: str) -> Json:
    """Say how much may be written in the words of the model's family."""
    counts_completion = model_id.startswith(("gpto", "gpt5"))
    told, wanted = (
        ("max_tokens", "max_completion_tokens") if counts_completion else ("max_completion_tokens", "max_tokens")
    )
    if family_of(model_id) == "gpt" and not counts_completion:
        return body
    if body.get(told) is None:
        return body
    rest = {key: value for key, value in body.items() if key != told}
    return {**rest, wanted: body[told] if body.get(wanted) is None else body[wanted]}


def capped(body: Json, model_id: str) -> Json:
    """Bound what Claude may write in an answer that is no stream: for more the gateway fails."""
    limit = body.get("max_tokens")
    if family_of(model_id) != "claude" or not isinstance(limit, int) or limit <= LONGEST_WHOLE_CLAUDE:
        return body
    return {**body, "max_tokens": LONGEST_WHOLE_CLAUDE}


def _text(content: Any) -> str:
    """Give the text of a content: a string, a list of strings, or parts."""
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n\n".join(text for text in texts if isinstance(text, str))
