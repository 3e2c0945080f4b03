"""The Argo gateway as far as it is known: what it takes, refuses and answers. Part of the scripted upstream.

A request whose body holds `script:NAME` gets that script played instead. Sources: "Argo API Documentation", 20
October 2025; header captures of March 2025; refusals captured in 2026.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

ROOT = "/argoapi/"
CHAT, STREAM, EMBED = (f"{ROOT}api/v1/resource/{name}/" for name in ("chat", "streamchat", "embed"))
MODELS = f"{ROOT}api/v1/models/"

Json = dict[str, Any]

LISTED = [
    {"id": "GPT-3.5 Turbo", "internal_id": "gpt35", "object": "model", "created": 1, "owned_by": "argo"},
    {"id": "GPT-4o", "internal_id": "gpt4o", "object": "model", "created": 1, "owned_by": "argo"},
    {"id": "GPT-9 Ultra", "internal_id": "gpt9ultra", "object": "model", "created": 1, "owned_by": "argo"},
    {"id": "Claude Opus 9.1", "internal_id": "claudeopus91", "object": "model", "created": 1, "owned_by": "argo"},
]
DENIAL = (
    "\n\n\u26a0\ufe0f **IMPORTANT AUTHENTICATION NOTICE FROM ARGO** \u26a0\ufe0f\n\n"
    "\U0001f6ab **ACCESS DENIED** \U0001f6ab\n\n"
    "The username 'blocked' could not be validated as an authorized Argo Gateway API user.\n\n"
    "** END NOTICE FROM ARGO **\n\n"
)
MISBUILT = (
    "You passed a messages field along with a system and or prompt field. Please only pass messages with any system "
    "and user prompts included, or only pass system and prompt alone."
)
MODELS_KNOWN = re.compile(r"(gpt|gemini|claude)[a-z0-9]*")
VECTOR_SIZES = {"ada002": 4, "v3small": 4, "v3large": 6}
MOST_TEXTS = 16


def script_of(seen: Json) -> str:
    found = re.search(r"script:([0-9a-f]{32})", seen.get("body") or "")
    return found.group(1) if found else ""


def answer(wire: Any, seen: Json) -> None:
    """Answer one request."""
    path = seen["target"].partition("?")[0]
    if path == MODELS:
        wire.json({"data": LISTED})
    elif path not in (CHAT, STREAM, EMBED):
        wire.json({"detail": "Not Found"}, "404 Not Found")
    elif seen["method"] != "POST":
        wire.json({"detail": "Method Not Allowed"}, "405 Method Not Allowed")
    else:
        asked = json.loads(seen["body"].encode("latin-1"))
        if problem := refused(path, asked):
            wire.json({"detail": problem}, "422 Unprocessable Entity")
        elif path == EMBED:
            size = VECTOR_SIZES[asked["model"]]
            wire.json({"embedding": [[float(len(text)), *range(1, size)] for text in asked["prompt"]]})
        else:
            talk(wire, seen, asked, path)


def refused(path: str, asked: Json) -> Any:
    """Tell what FastAPI's validation would say of a body; nothing when it is fine."""
    for name in ("user", "model"):
        if not isinstance(asked.get(name), str):
            return [{"loc": ["body", name], "msg": "field required", "type": "value_error.missing"}]
    prompt = asked.get("prompt")
    if "prompt" in asked and not (isinstance(prompt, list) and all(isinstance(text, str) for text in prompt)):
        return [{"loc": ["body", "prompt"], "msg": "value is not a valid list of strings", "type": "type_error.list"}]
    if path == EMBED:
        if asked["model"] not in VECTOR_SIZES:
            return f"Model {asked['model']} is invalid"
        return None if len(prompt or ()) <= MOST_TEXTS else f"At most {MOST_TEXTS} texts"
    if "messages" not in asked and "prompt" not in asked:
        return [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]
    return rules_of_the_family(asked)


def rules_of_the_family(asked: Json) -> str | None:
    """Tell what the model behind would say; of the rules that the documentation names."""
    model, messages = asked["model"], asked.get("messages") or []
    roles = [message.get("role") for message in messages]
    if not MODELS_KNOWN.fullmatch(model):
        return f"Model {model} is invalid"
    if model in ("gpto1preview", "gpto1mini") and ("system" in roles or "system" in asked):
        return "Unsupported value: 'messages[0].role' does not support 'system' with this model."
    if "developer" in roles:
        return "Invalid parameter: messages[0].tool_calls"
    if any(message.get("content", ...) is None for message in messages):
        return "Invalid value for content: expected a string, got null."
    if model.startswith(("gpt5", "gpto")) and "max_tokens" in asked:
        return "Unsupported parameter: 'max_tokens' is not supported with this model."
    if model.startswith("claude"):
        return claude_says(messages, asked)
    if model.startswith("gemini"):
        return gemini_says(messages, roles)
    return None


def claude_says(messages: list[Json], asked: Json) -> str | None:
    if messages and not any(message["role"] == "user" for message in messages):
        return "messages: at least one message is required"
    if any(message["role"] == "tool" or "tool_calls" in message for message in messages):
        return "messages: Unexpected role"
    uses: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        if sorted(results) != sorted(uses):
            return "messages: `tool_use` ids were found without `tool_result` blocks immediately after"
        uses = [block["id"] for block in blocks if block.get("type") == "tool_use"]
    if any("input_schema" not in tool for tool in asked.get("tools") or ()):
        return "tools.0.input_schema: Field required"
    return None


def gemini_says(messages: list[Json], roles: list[str]) -> str | None:
    if messages and "user" not in roles:
        return "at least one contents field is required"
    for message, after in zip(messages, [*messages[1:], {"role": ""}], strict=True):
        calls = message.get("tool_calls") or []
        if len(calls) > 1 or (calls and after["role"] != "tool"):
            return "the number of function response parts is equal to the number of function call parts"
        if message["role"] == "tool" and not message.get("name"):
            return "function_response.name: Name cannot be empty"
    return None


def talk(wire: Any, seen: Json, asked: Json, path: str) -> None:
    """Answer a chat that is well formed."""
    if asked["user"] == "blocked":
        response: Any = DENIAL
    elif "messages" in asked and ("prompt" in asked or asked.get("system")):
        response = MISBUILT
    elif path == CHAT and asked.get("tools") and not has_results(asked):
        response = tool_calls(asked)
    else:
        response = words(asked)
    if path == CHAT:
        wire.json({"response": response})
        return
    headers = {name.lower(): value for name, value in seen["headers"]}
    stream(wire, response, "gzip" in headers.get("accept-encoding", ""))


def has_results(asked: Json) -> bool:
    text = json.dumps(asked.get("messages"))
    return '"tool_result"' in text or '"role": "tool"' in text


def words(asked: Json) -> str:
    """Say something that tells what was asked."""
    if "messages" in asked:
        contents = [message["content"] for message in asked["messages"]]
        last = next((text for text in reversed(contents) if isinstance(text, str)), "something")
    else:
        last = " | ".join(asked["prompt"])
    return f"<think>hm \u4e16</think>Hello \u4e16\u754c \U0001f30d, you said: {last}"


def tool_calls(asked: Json) -> Json:
    """Call each tool once, in the shape of the model's family."""
    calls: list[Json] = []
    for place, tool in enumerate(asked["tools"]):
        name, given = tool.get("name") or tool["function"]["name"], {"city": f"City {place}"}
        if asked["model"].startswith("claude"):
            calls.append({"id": f"toolu_{place}", "type": "tool_use", "name": name, "input": given})
        elif asked["model"].startswith("gemini"):
            calls.append({"id": None, "name": name, "args": given})
        else:
            function = {"name": name, "arguments": json.dumps(given)}
            calls.append({"id": f"call_{place}", "type": "function", "function": function})
    return {"content": "Let me see." if asked["model"].startswith("claude") else None, "tool_calls": calls}


def stream(wire: Any, text: str, accepts_gzip: bool) -> None:
    """Write raw text in cuts that take no care of characters."""
    coding = "content-encoding: gzip\r\n" if accepts_gzip else ""
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
        f"connection: keep-alive\r\nvary: Accept-Encoding\r\nstrict-transport-security: max-age=1\r\n{coding}\r\n"
    )
    wire.send(head.encode())
    data = gzip.compress(text.encode()) if accepts_gzip else text.encode()
    for at in range(0, len(data), 3):
        piece = data[at : at + 3]
        wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        wire.step_read()
    wire.send(b"0\r\n\r\n")
