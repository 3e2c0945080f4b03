"""What Anthropic's Messages API takes and refuses, in words like its own. Part of the scripted Anthropic.

Sources: Anthropic API reference; the types of its SDKs; refusals as clients reported them.
"""

from __future__ import annotations

import json
import re
from typing import Any

KEY = "sk-ant-test"
MODELS = ("claude-opus-4-6", "claude-haiku-4-5")
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
FIELDS = frozenset(
    "model max_tokens messages system stop_sequences stream temperature top_p top_k tools tool_choice thinking"
    " output_config metadata service_tier speed cache_control container inference_geo".split()
)
BLOCKS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
CHOICES = ("auto", "any", "tool", "none")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
ID = re.compile(r"[A-Za-z0-9_-]+")
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

Json = dict[str, Any]


class Refused(Exception):
    """An error, by its type."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.status = STATUSES.get(kind, 500)
        said = message or ("Overloaded" if kind == "overloaded_error" else f"This is a {kind}.")
        self.error = {"type": kind, "message": said}


def check_headers(headers: dict[str, str]) -> None:
    """See who asks, and for which version."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    if headers.get("x-api-key", bearer) != KEY:
        raise Refused("authentication_error", "invalid x-api-key")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", headers.get("anthropic-version", "")):
        raise Refused("invalid_request_error", "anthropic-version: header is required")


def need(holds: object, message: str) -> None:
    if not holds:
        raise Refused("invalid_request_error", message)


def check_body(text: bytes) -> Json:
    """Read a body. Raises Refused."""
    try:
        asked = json.loads(text)
    except ValueError:
        raise Refused("invalid_request_error", "The request body is not valid JSON") from None
    need(isinstance(asked, dict), "Input should be a valid dictionary")
    for name in ("model", "max_tokens", "messages"):
        need(name in asked, f"{name}: Field required")
    for name in asked:
        need(name in FIELDS, f"{name}: Extra inputs are not permitted")
    if asked["model"] not in MODELS:
        raise Refused("not_found_error", f"model: {asked['model']}")
    check_parameters(asked)
    check_thinking(asked)
    check_tools(asked)
    check_messages(asked["messages"])
    if len(text) > 1_000_000:
        raise Refused("invalid_request_error", f"prompt is too long: {len(text) // 4} tokens > 200000 maximum")
    return dict(asked)


def check_parameters(asked: Json) -> None:
    need(type(asked["max_tokens"]) is int and asked["max_tokens"] >= 1, "max_tokens: Input should be a valid integer")
    for name in ("temperature", "top_p"):
        value = asked.get(name, 1)
        need(isinstance(value, int | float) and 0 <= value <= 1, f"{name}: range: 0..1")
    need("temperature" not in asked or "top_p" not in asked, "`temperature` and `top_p` cannot both be specified")
    need(isinstance(asked.get("stream", False), bool), "stream: Input should be a valid boolean")
    for stop in asked.get("stop_sequences", []):
        need(isinstance(stop, str) and stop.strip(), "stop_sequences: each stop sequence must contain non-whitespace")
    for name in asked.get("metadata", {}):
        need(name == "user_id", f"metadata.{name}: Extra inputs are not permitted")
    system = asked.get("system", [])
    for place, block in enumerate(system if isinstance(system, list) else []):
        need(block.get("type") == "text", f"system.{place}: only text blocks are allowed")
        check_text(block, f"system.{place}")
    config = asked.get("output_config", {})
    need(config.get("effort", "low") in EFFORTS, "output_config.effort: Input should be 'low', 'medium' or 'high'")
    if "format" in config:
        need(config["format"].get("type") == "json_schema", "output_config.format.type: Input should be 'json_schema'")
        need(isinstance(config["format"].get("schema"), dict), "output_config.format.schema: Field required")


def check_thinking(asked: Json) -> None:
    thinking = asked.get("thinking", {"type": "disabled"})
    kind = thinking.get("type")
    need(kind in ("enabled", "adaptive", "disabled"), "thinking: Input tag does not match any of the expected tags")
    if kind == "disabled":
        return
    if kind == "enabled":
        need(thinking.get("budget_tokens", 0) >= 1024, "thinking.enabled.budget_tokens: must be at least 1024")
        need(asked["max_tokens"] > thinking["budget_tokens"], "`max_tokens` must be greater than the budget")
        check_thoughts(asked["messages"])
    need(asked.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled")
    need("top_k" not in asked, "`top_k` must be unset when thinking is enabled")
    choice = asked.get("tool_choice", {}).get("type")
    need(choice not in ("any", "tool"), "Thinking may not be enabled when tool_choice forces tool use")


def check_thoughts(messages: list[Json]) -> None:
    last: list[Json] = next((turn["content"] for turn in reversed(messages) if turn["role"] == "assistant"), [])
    if any(isinstance(block, dict) and block.get("type") == "tool_use" for block in last):
        need("thinking" in last[0]["type"], "Expected `thinking` or `redacted_thinking`, but found another block")


def check_tools(asked: Json) -> None:
    tools, choice = asked.get("tools", []), asked.get("tool_choice")
    for place, tool in enumerate(tools):
        need(NAME.fullmatch(tool.get("name", "")), f"tools.{place}.custom.name: String should match pattern")
        need("input_schema" in tool, f"tools.{place}.custom.input_schema: Field required")
        need(
            tool["input_schema"].get("type") == "object",
            f"tools.{place}.custom.input_schema.type: Input should be 'object'",
        )
        for name in tool:
            known = name in ("type", "name", "description", "input_schema", "strict", "cache_control")
            need(known, f"tools.{place}.custom.{name}: Extra inputs are not permitted")
    if choice is not None:
        need(tools, "tool_choice: may only be specified while providing tools")
        need(choice.get("type") in CHOICES, "tool_choice: Input tag does not match any of the expected tags")
        named = choice.get("type") != "tool" or choice.get("name") in [tool["name"] for tool in tools]
        need(named, f"Tool '{choice.get('name')}' not found in provided tools")


def check_messages(messages: Any) -> None:
    need(isinstance(messages, list) and messages, "messages: at least one message is required")
    need(messages[0].get("role") == "user", 'messages: first message must use the "user" role')
    called: list[str] = []
    for place, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        need(role in BLOCKS, f"messages.{place}.role: Input should be 'user' or 'assistant'")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        need(blocks, f"messages.{place}: all messages must have non-empty content")
        need(set(message) == {"role", "content"}, f"messages.{place}: Extra inputs are not permitted")
        for at, block in enumerate(blocks):
            need(block.get("type") in BLOCKS[role], f"messages.{place}.content.{at}: unexpected block for {role}")
            check_block(block, f"messages.{place}.content.{at}")
        check_results(blocks, called, f"messages.{place}")
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
    need(not called, "messages: `tool_use` ids were found without `tool_result` blocks immediately after")


def check_results(blocks: list[Json], called: list[str], place: str) -> None:
    """See that each call of the turn before has its result, and that results come before everything else."""
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for tool_use_id in results:
        need(tool_use_id in called, f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {tool_use_id}")
    missing = sorted(set(called) - set(results))
    need(not missing, f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}")
    first = [block["type"] == "tool_result" for block in blocks[: len(results)]]
    need(all(first) and len(set(results)) == len(results), f"{place}: `tool_result` blocks must come first, once each")


def check_block(block: Json, place: str) -> None:
    kind = block["type"]
    if kind == "text":
        check_text(block, place)
    elif kind in ("image", "document"):
        check_source(block.get("source", {}), place)
    elif kind == "tool_use":
        need(ID.fullmatch(block.get("id", "")), f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        need(isinstance(block.get("input"), dict), f"{place}.tool_use.input: Input should be a valid dictionary")
    elif kind == "tool_result":
        need(
            ID.fullmatch(block.get("tool_use_id", "")), f"{place}.tool_result.tool_use_id: String should match pattern"
        )
        inner = block.get("content", "")
        for at, part in enumerate(inner if isinstance(inner, list) else []):
            need(part.get("type") in BLOCKS["user"] - {"tool_result"}, f"{place}.content.{at}: unexpected block")
            check_block(part, f"{place}.content.{at}")
    elif kind == "thinking":
        need(block.get("signature"), f"{place}.thinking.signature: Field required")


def check_text(block: Json, place: str) -> None:
    need(isinstance(block.get("text"), str), f"{place}.text.text: Input should be a valid string")
    need(block["text"].strip(), f"{place}: text content blocks must contain non-whitespace text")
    need(set(block) <= {"type", "text", "cache_control", "citations"}, f"{place}: Extra inputs are not permitted")


def check_source(source: Json, place: str) -> None:
    kind = source.get("type")
    need(kind in ("base64", "url", "file"), f"{place}.source: Input tag does not match any of the expected tags")
    if kind == "base64":
        need(source.get("data") and source.get("media_type"), f"{place}.source.base64: Field required")
        known = r"image/(jpeg|png|gif|webp)|application/pdf"
        need(
            re.fullmatch(known, source["media_type"]), f"{place}.source.base64.media_type: Input should be 'image/jpeg'"
        )
