"""Reads the journal that a running proxy writes."""

from __future__ import annotations

import json
from pathlib import Path

from argoproxy.protocol.json_text import Json
from tests.support.client import Answer
from tests.support.processes import Proxy, eventually

FIRST_FIELDS = ["timestamp", "logging_id", "input", "output", "send_mode", "return_mode"]


class JournalReader:
    """A journal, and the proxy that writes it."""

    def __init__(self, proxy: Proxy, folder: Path) -> None:
        self.proxy, self.folder = proxy, folder

    def lines(self, name: str, logging_id: str) -> list[Json]:
        file = self.folder / f"{name}_interaction.jsonl"
        text = file.read_text() if file.exists() else ""
        return [line for line in map(json.loads, text.splitlines()) if line["logging_id"] == logging_id]

    def of(self, answer: Answer) -> tuple[Json, list[Json]]:
        """Wait for what stands there of an answer: (the client's line, those of upstreams)."""
        (client,) = eventually(lambda: self.lines("client", answer.id))
        assert list(client)[:6] == FIRST_FIELDS
        return client, self.lines("server", answer.id)
