"""`/api/exchange/ID`: one request as the journal has it, both sides, with what changed on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from argoproxy.config.derived import JournalSettings
from argoproxy.console.exchange.body_diff import find_changes
from argoproxy.console.exchange.conversation import read_answer, read_error, read_parameters, read_tools, read_turns
from argoproxy.console.exchange.exchange_shapes import ShownExchange, ShownSide, ShownTurn, TimePart
from argoproxy.console.exchange.thoughts import mark_fates, settings_of_client, split_thoughts
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, dumps
from argoproxy.protocol.reasoning.policy import ReasoningSettings
from argoproxy.telemetry.journal.curl import NotRepeatable, curl_command
from argoproxy.telemetry.journal.reader import find_ids, find_lines
from argoproxy.telemetry.journal.writer import CLIENT_FILE, META, SERVER_FILE

#: The largest body that is sent as it is.
MOST_RAW_BYTES = 512 * 1024
NO_JOURNAL = "No journal is configured, so no bodies are kept; output_path (OUTPUT_PATH, --output_path DIR) sets one."
META_ONLY = "The journal keeps sizes in place of bodies: journal_bodies is meta; full keeps them."
SIZE_ONLY = (
    "Only the sizes of this request's bodies were recorded: they were passed on unread, or were no JSON objects."
)
GONE = (
    "The journal does not hold this request: it is written when a request has ended, and its oldest file is deleted"
    " when a new one begins (journal_files)."
)
SEVERAL = "Several requests have an id that begins so."

#: What is known of a model's thoughts, by the client's name of it and the path.
FindReasoning = Callable[[str, str], ReasoningSettings]


def read_exchange(
    journal: JournalSettings | None, request_id: str, find_reasoning: FindReasoning, port: int
) -> ShownExchange:
    """Return a request by its id, or the beginning of it; `port` is the proxy's."""
    if journal is None:
        return _without_bodies(request_id, "journal", NO_JOURNAL)
    try:
        return _read(journal, request_id, find_reasoning, port)
    except OSError as error:
        return _without_bodies(request_id, "unreadable", f"The journal can't be read: {error.strerror}.")


def _read(journal: JournalSettings, request_id: str, find_reasoning: FindReasoning, port: int) -> ShownExchange:
    matches = _find(journal.folder, request_id)
    if len(matches) > 1:
        return {**_without_bodies(request_id, "several", SEVERAL), "matches": sorted(matches)}
    if not matches:
        return _without_bodies(request_id, "gone", GONE)
    ((found, client),) = matches.items()
    servers = find_lines(journal.folder / SERVER_FILE, found)
    exchange = describe_exchange(client, servers, find_reasoning, port)
    if not any(_is_body(as_dict(line.get("input"))) for line in (*servers, client) if line):
        code, reason = ("meta", META_ONLY) if journal.bodies == META else ("size", SIZE_ONLY)
        return {**exchange, "reason_code": code, "reason": reason}  # type: ignore[typeddict-item]
    return exchange


def describe_exchange(
    client: Json | None, servers: Sequence[Json], find_reasoning: FindReasoning, port: int
) -> ShownExchange:
    """Return a request by its lines: the client's, if it could be written, and one for each attempt."""
    line = client or servers[0]
    settings = find_reasoning(as_text(line.get("model")), as_text(line.get("path")))
    own = as_dict(line.get("input")) if client else {}
    attempts = [_read_side(server) for server in servers]
    for side, server in zip(attempts, servers, strict=True):
        side["changes"] = _changes_between(own, as_dict(server.get("input")))
    shown = _read_side(client) if client else None
    _mark_thoughts(shown, attempts, settings)
    curl, curl_reason = _repeat(client, port)
    return {
        "id": as_text(line.get("logging_id")),
        "reason_code": "",
        "reason": "",
        "matches": [],
        "client": shown,
        "attempts": attempts,
        "phases": list(_phases(line, servers)),
        "curl": curl,
        "curl_reason": curl_reason,
    }


def _find(folder: Path, request_id: str) -> Mapping[str, Json | None]:
    if not request_id:
        return {}
    clients = find_ids(folder / CLIENT_FILE, request_id)
    return clients or dict.fromkeys(find_ids(folder / SERVER_FILE, request_id))


def _without_bodies(request_id: str, code: Any, reason: str) -> ShownExchange:
    return {
        "id": request_id,
        "reason_code": code,
        "reason": reason,
        "matches": [],
        "client": None,
        "attempts": [],
        "phases": [],
        "curl": "",
        "curl_reason": reason,
    }


def _read_side(line: Json) -> ShownSide:
    request, response = as_dict(line.get("input")), as_dict(line.get("output"))
    raw_input, input_bytes = _raw(line.get("input"))
    raw_output, output_bytes = _raw(line.get("output"))
    hidden = [name for name, raw in (("request", raw_input), ("answer", raw_output)) if raw is None]
    too_large = [
        name for name, body in (("request", request), ("answer", response)) if name in hidden and _is_body(body)
    ]
    return {
        "facts": {name: value for name, value in line.items() if name not in ("input", "output")},
        "turns": read_turns(request),
        "tools": read_tools(request),
        "parameters": read_parameters(request) if _is_body(request) else {},
        "answer": read_answer(response),
        "error": read_error(response),
        "raw_input": raw_input,
        "raw_output": raw_output,
        "input_bytes": input_bytes,
        "output_bytes": output_bytes,
        "note": f"Too large to be shown raw: the {' and the '.join(too_large)}." if too_large else "",
        "changes": [],
    }


def _is_body(body: Json) -> bool:
    """Return whether this is more than the size of a body."""
    return bool(body) and not body.keys() <= {"bytes", "usage"}


def _raw(body: Any) -> tuple[Any, int | None]:
    """Return a body that may be shown as it is, and its size; None for what is not known."""
    if not isinstance(body, dict):
        return None, None
    if not _is_body(body):
        size = body.get("bytes")
        return None, size if isinstance(size, int) else None
    try:
        size = len(dumps(body))
    except (JsonError, RecursionError):
        return None, None
    return (body if size <= MOST_RAW_BYTES else None), size


def _changes_between(client: Json, attempt: Json) -> list[Any]:
    return list(find_changes(client, attempt)) if _is_body(client) and _is_body(attempt) else []


def _mark_thoughts(client: ShownSide | None, attempts: Sequence[ShownSide], settings: ReasoningSettings) -> None:
    """Split the answers into thoughts and text, and mark what became of the thoughts of the last one."""
    upstream = attempts[-1]["answer"] if attempts else []
    shown: list[ShownTurn] = []
    if client:
        own = settings_of_client(client["answer"], upstream, settings)
        shown = client["answer"] = split_thoughts(client["answer"], own)
    for side in attempts:
        side["answer"] = mark_fates(split_thoughts(side["answer"], settings), shown)


def _phases(line: Json, servers: Sequence[Json]) -> Iterator[TimePart]:
    """Yield the parts of a request's time: failed attempts, the wait for the first byte of one that did not fail, the
    rest."""
    total, first = _ms(line.get("total_ms")), _ms(line.get("first_byte_ms"))
    spent = 0.0
    for server in servers:
        if server.get("failure"):
            ms = _ms(server.get("attempt_ms"))
            spent += ms
            name = f"{as_text(server.get('upstream'))}: {as_text(server.get('failure'))}"
            yield {"name": name, "ms": ms, "failed": True}
    if first and servers and not servers[-1].get("failure"):
        wait = max(0.0, first - spent)
        spent += wait
        yield {"name": "first byte", "ms": round(wait, 1), "failed": False}
    yield {"name": "answer", "ms": round(max(0.0, total - spent), 1), "failed": False}


def _ms(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _repeat(client: Json | None, port: int) -> tuple[str, str]:
    """Return the command that sends a request again, or why there is none."""
    if client is None:
        return "", "The journal has no line of the client's request."
    try:
        return curl_command(client, port), ""
    except NotRepeatable as error:
        return "", str(error)
