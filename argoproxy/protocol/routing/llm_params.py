"""The LLM_PARAMS language: `model=gemma,temperature=0.5,top_k=40;model=llama2,max_tokens=200`.

Groups are separated by `;`, pieces of a group by `,`; blanks around them are ignored. A value in quotes may contain
both; one that starts with `[` or `{` is JSON. A malformed piece is skipped, with a warning that names its group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from argoproxy.protocol.json_text import parse_at
from argoproxy.protocol.reasoning.policy import Opening
from argoproxy.protocol.routing.rules import DEFAULT, Rule

#: Parameters that are strings in OpenAI's API (and may look like numbers), and the rule's own.
STRINGS = frozenset(
    "model user suffix stop prompt input instructions tool_choice function_call reasoning_effort verbosity service_tier"
    " safety_identifier prompt_cache_key prompt_cache_retention encoding_format upstream_model_name"
    " append_to_last_user_message think_tag_start think_tag_end".split()
)
BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
#: Values of `think_starts_open`.
OPENINGS: Mapping[str, Opening] = {
    "auto": Opening.AUTO,
    **{word: Opening.OPEN if is_true else Opening.CLOSED for word, is_true in BOOLEANS.items()},
}
_OF_THE_RULE = frozenset(("upstream_model_name", "append_to_last_user_message", "think_tag_start", "think_tag_end"))
_ALWAYS_TEXT = _OF_THE_RULE | {"model"}
_JSON_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_QUOTED = re.compile(r"'[^']*'")
_END_OF_PIECE = re.compile(r"\s*(?=[,;]|$)")
_MALFORMED: Any = object()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece, `key=value`; `text` is the piece as written."""

    key: str
    value: Any
    text: str


def parse_llm_params(text: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Parse LLM_PARAMS: (rules in the order of their groups, warnings)."""
    rules: dict[str, Rule] = {}
    warnings: list[str] = []
    for number, pieces in enumerate(filter(None, _groups(text)), 1):
        rule, problems = _rule(pieces)
        where = f"LLM_PARAMS, group {number} (model={rule.name}): "
        if rule.name in rules:
            problems.append("the model already has a group; this one is merged with it")
        rules[rule.name] = rule.merged_over(rules[rule.name]) if rule.name in rules else rule
        warnings += [where + warning for warning in problems]
    return tuple(rules.values()), tuple(warnings)


def _rule(pieces: list[_Piece]) -> tuple[Rule, list[str]]:
    rule, warnings = Rule(DEFAULT), []
    named = False
    for piece in pieces:
        if not piece.key:
            warnings.append(f"ignored {piece.text!r}, which is not key=value")
        elif piece.value is _MALFORMED or (piece.value == "" and piece.key in _ALWAYS_TEXT):
            warnings.append(f"ignored {piece.text!r}, which has no usable value")
        elif piece.key == "model" and named:
            warnings.append(f"ignored {piece.text!r}: a group has one model, ';' begins the next group")
        elif piece.key == "model":
            rule, named = replace(rule, name=piece.value), True
        elif piece.key == "enable_think_tag_filtering" and str(piece.value).lower() not in BOOLEANS:
            warnings.append(f"ignored {piece.text!r}, which is not true or false")
        elif piece.key == "think_starts_open" and str(piece.value).lower() not in OPENINGS:
            warnings.append(f"ignored {piece.text!r}, which is not true, false or auto")
        else:
            rule = _with(rule, piece)
    if not warnings and rule.sets_nothing:
        warnings.append("sets nothing")
    return rule, warnings


def _with(rule: Rule, piece: _Piece) -> Rule:
    if piece.key == "append_to_last_user_message":
        return replace(rule, append_to_last_user_message=piece.value.replace("\\n", "\n"))
    if piece.key == "enable_think_tag_filtering":
        return replace(rule, enable_think_tag_filtering=BOOLEANS[str(piece.value).lower()])
    if piece.key == "think_starts_open":
        return replace(rule, think_starts_open=OPENINGS[str(piece.value).lower()])
    if piece.key in _OF_THE_RULE:
        return replace(rule, **{piece.key: piece.value})
    return replace(rule, params={**rule.params, piece.key: piece.value})


def _groups(text: str) -> Iterator[list[_Piece]]:
    at, group = 0, []
    while at < len(text):
        piece, at = _piece(text, at)
        if piece.text:
            group.append(piece)
        if at < len(text) and text[at] == ";":
            yield group
            group = []
        at += 1
    yield group


def _piece(text: str, start: int) -> tuple[_Piece, int]:
    """Parse one piece: (it, the offset of its `,` or `;`)."""
    at = start
    while at < len(text) and text[at] not in "=,;":
        at += 1
    if at == len(text) or text[at] != "=":
        return _Piece("", _MALFORMED, text[start:at].strip()), at
    key = text[start:at].strip()
    at += 1
    while at < len(text) and text[at].isspace():
        at += 1
    value, end = _value(key, text, at)
    return _Piece(key, value, text[start:end].strip()), end


def _value(key: str, text: str, at: int) -> tuple[Any, int]:
    """Parse a value: (it, the offset of the end of the piece)."""
    first = text[at : at + 1]
    if first == '"' or (first in ("[", "{") and key not in _ALWAYS_TEXT):
        try:
            value, end = parse_at(text, at)
        except ValueError:
            return _MALFORMED, _plain_end(text, at)
        return _check_end(value, text, end)
    if quoted := _QUOTED.match(text, at):
        return _check_end(quoted.group()[1:-1], text, quoted.end())
    end = _plain_end(text, at)
    return _parse_scalar(key, text[at:end].strip()), end


def _check_end(value: Any, text: str, end: int) -> tuple[Any, int]:
    if blanks := _END_OF_PIECE.match(text, end):
        return value, blanks.end()
    return _MALFORMED, _plain_end(text, end)


def _plain_end(text: str, at: int) -> int:
    return next((end for end in range(at, len(text)) if text[end] in ",;"), len(text))


def _parse_scalar(key: str, value: str) -> Any:
    if key in STRINGS or not _JSON_SCALAR.fullmatch(value):
        return value or _MALFORMED
    try:
        return parse_at(value, 0)[0]
    except ValueError:
        return _MALFORMED
