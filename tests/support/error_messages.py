"""Every message that a client can get, collected from the code: each place that makes a ProxyError, and the tables of
messages that some places read. `python -m tests.support.error_messages` lists them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from argoproxy import errors
from argoproxy.errors import BadRequest, ProxyError, UpstreamStatus
from argoproxy.protocol.api import types
from argoproxy.protocol.cache import cache_control
from argoproxy.protocol.limits import limit_refusals
from argoproxy.transport import exchange
from argoproxy.workers import error_responses

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "argoproxy"
#: Stands for what a message says of the one request.
GAP = "…"

CLASSES: dict[str, type[ProxyError]] = {
    name: value
    for module in (errors, cache_control, error_responses, limit_refusals)
    for name, value in inspect.getmembers(module, inspect.isclass)
    if issubclass(value, ProxyError) and value not in (ProxyError, UpstreamStatus)
}
#: Functions that take their messages from a table, which `messages_of_tables` reads.
READ_TABLES = {
    "argoproxy/protocol/api/schema.py check_shape",
    "argoproxy/protocol/responses/request_shape.py validate_request",
    "argoproxy/workers/error_responses.py _to_error",
}


@dataclass(frozen=True, order=True)
class Message:
    """A message as the documentation names it; its code is "" where there is none."""

    status: int
    code: str
    type: str
    text: str


@dataclass(frozen=True)
class Place:
    """Where an error is made, in a function of a module."""

    file: Path
    module: ast.Module
    function: ast.AST
    call: ast.Call

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.call.lineno}"


def messages_of_code() -> Iterator[Message]:
    """Yield every message there is. Raises LookupError where one can't be told from the code: a new table belongs into
    `messages_of_tables`."""
    for place in places():
        try:
            yield from messages(place)
        except LookupError:
            if f"{place.file.relative_to(ROOT)} {getattr(place.function, 'name', '')}" not in READ_TABLES:
                raise
    yield from messages_of_tables()


def messages_of_tables() -> Iterator[Message]:
    """Yield the messages that stand in tables: of malformed requests, of wrong fields, of time-outs."""
    for status, text in (*error_responses._REASONS.values(), (400, "The request is malformed.")):
        yield Message(status, error_responses.MalformedRequest.code or "", BadRequest.type, text)
    for problem, sentence in types._SENTENCES.items():
        yield Message(BadRequest.status, problem, BadRequest.type, sentence.format(GAP, GAP, GAP))
    for phase in (exchange.CONNECTING, exchange.AWAITING, exchange.PROGRESSING):
        yield Message(phase.kind.status, phase.code, phase.kind.type, phase.message)


def places() -> Iterator[Place]:
    """Yield each place that makes an error."""
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ast.parse(file.read_text())
        for function, call in _calls(module, module):
            if isinstance(call.func, ast.Name) and call.func.id in CLASSES:
                yield Place(file, module, function, call)


def messages(place: Place) -> Iterator[Message]:
    """Yield the messages of a place. Raises LookupError where a text or a code can't be told from the code."""
    error = CLASSES[place.call.func.id]  # type: ignore[attr-defined]
    codes = [error.code or ""]
    for keyword in place.call.keywords:
        if keyword.arg == "code":
            codes = list(texts(keyword.value, place))
    for code in codes:
        for text in texts(place.call.args[0], place):
            yield Message(error.status, code, error.type, text)


def texts(node: ast.expr, place: Place) -> Iterator[str]:
    """Yield the texts that an expression can have, with a gap for each part that depends on the request."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, place)
        yield from texts(node.orelse, place)
    elif isinstance(node, ast.Name) and (values := list(_values_of(node.id, place))):
        for value in values:
            yield from texts(value, place)
    else:
        raise LookupError(f"{place}: {ast.unparse(node)}")


def _calls(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, inside)


def _values_of(name: str, place: Place) -> Iterator[ast.expr]:
    """Yield what is assigned to a name, in the function or else in the module."""
    for scope in (place.function, place.module):
        found = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign)
            and any(isinstance(one, ast.Name) and one.id == name for one in node.targets)
        ]
        if found:
            yield from found
            return


if __name__ == "__main__":
    sys.stdout.writelines(f"{message}\n" for message in sorted(set(messages_of_code())))
