"""Journals for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.journal.writer import CLIENT_FILE, JournalFiles, encode_line


def client_line(logging_id: str, **fields: Any) -> Json:
    """Give a client's line, complete but for what is told otherwise."""
    told = {
        "timestamp": "2026-11-21T15:04:05.123456Z",
        "logging_id": logging_id,
        "input": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]},
        "output": {"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 32}},
        "send_mode": "stream",
        "return_mode": "stream",
        "ending": "complete",
        "model": "gpt-4o",
        "upstream": "openai",
        "client_request_id": "",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "key": "",
        "first_byte_ms": 12.34,
        "total_ms": 456.7,
    }
    return {**told, **fields}


def journal_of(folder: Path, *exchanges: tuple[Json, list[Json]]) -> Path:
    """Write a journal in which each line has a file for itself: its folder."""
    journal = JournalFiles(folder, 1, 1000)
    for client, servers in exchanges:
        journal.write(client, servers)
    return folder


def client_file(folder: Path, ids: Iterable[str], rest: bytes = b"") -> Path:
    """Write the clients' file, with a rest behind its lines: it."""
    path = folder / CLIENT_FILE
    path.write_bytes(b"".join(encode_line(client_line(logging_id)) for logging_id in ids) + rest)
    return path
