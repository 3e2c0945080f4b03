"""What the proxy wrote since one looked last: its log, its journal, its metrics; and what its worker has open."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.fuzz.case import CLIENT_KEY, SERVER_KEYS, Violation
from tests.support.client import Answer

#: A line of a request; one of ours; one of Gunicorn's.
REQUEST_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+Z request ")
LINES = re.compile(r"\d{4}-\d\d-\d\d[T ]\S+Z? [\w-]+ |\[\d{4}-\d\d-\d\d \S+ \S+\] \[\d+\] \[\w+\] ")
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SAMPLE = re.compile(r"^argoproxy_requests_(total|in_flight)\{[^\n]*\} (\S+)$", re.MULTILINE)
KEYS = (CLIENT_KEY, *SERVER_KEYS.values())


class Tail:
    """Reads what was appended to a file, also when it is put aside for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def read(self) -> str:
        """Give whole lines that are new."""
        text = self._rest()
        while self._file is None or self._is_put_aside():
            if not self._path.exists():
                return text
            if self._file:
                self._file.close()
            self._file = self._path.open("rb")
            text += self._rest()
        return text

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _rest(self) -> str:
        if self._file is None:
            return ""
        start = self._file.tell()
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._file.seek(start + len(whole))
        return whole.decode("utf-8", "backslashreplace")

    def _is_put_aside(self) -> bool:
        return self._path.exists() and os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino  # type: ignore[union-attr]


@dataclass
class Written:
    """What was written about the requests of a case."""

    lines: list[dict[str, str]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def ids(self) -> tuple[Counter[str], Counter[str]]:
        """Count the ids of requests in the log, and in the journal."""
        lines = Counter(line["id"] for line in self.lines)
        return lines, Counter(str(entry["logging_id"]) for entry in self.entries)


@dataclass
class Records:
    """The log and the journal of a proxy, read as they grow."""

    log: Tail
    journal: Tail
    servers: Tail
    journal_log: Tail

    def close(self) -> None:
        for tail in (self.log, self.journal, self.servers, self.journal_log):
            tail.close()

    def read(self, written: Written) -> None:
        """Take up what is new."""
        log = self.log.read()
        texts = {"log": log, "journal": self.journal.read(), "servers": self.servers.read()}
        texts["journal's log"] = self.journal_log.read()
        for name, text in texts.items():
            written.violations += leaked_keys(f"the {name}", text, KEYS)
        written.violations += faults_of_the_log(log)
        written.lines += [dict(FIELD.findall(line)) for line in log.split("\n")[:-1] if REQUEST_LINE.match(line)]
        for line in texts["journal"].split("\n")[:-1]:
            written.entries.append(json.loads(line))
        for line in texts["servers"].split("\n")[:-1]:
            json.loads(line)


def faults_of_the_log(text: str) -> Iterator[Violation]:
    """Find tracebacks, errors, and what is no line of the log; lines below such a one belong to it."""
    faults: list[tuple[str, list[str]]] = []
    follows = False
    for line in text.split("\n")[:-1]:
        is_line = bool(LINES.match(line)) and not CONTROL.search(line)
        if line.startswith("Traceback (most recent call last)"):
            faults.append(("traceback", []))
        elif is_line and (" internal error" in line or "] [ERROR]" in line or "] [CRITICAL]" in line):
            faults.append(("internal error", []))
        elif not is_line and not follows:
            faults.append(("log line", []))
        follows = (follows and not is_line) or bool(faults and not faults[-1][1])
        if follows and faults:
            faults[-1][1].append(line)
    for name, lines in faults:
        yield Violation(name, " / ".join(dict.fromkeys((lines[0], lines[-1])))[:400])


def leaked_keys(where: str, text: str, keys: Iterable[str]) -> Iterator[Violation]:
    """Find keys where none may stand."""
    for key in keys:
        if key in text:
            at = text.index(key)
            yield Violation("key leaked", f"{key} in {where}: {text[max(0, at - 120) : at + 40]!r}")


def disagreements(written: Written, answers: Sequence[Answer]) -> Iterator[Violation]:
    """Compare log and journal with each other and with the answers that clients got, by the ids of requests."""
    lines, entries = written.ids()
    statuses = {answer.id: str(answer.status) for answer in answers}
    if lines != entries:
        yield Violation("records", f"log {dict(lines - entries)} and journal {dict(entries - lines)} differ")
    for name, count in lines.items():
        if count > 1:
            yield Violation("records", f"{count} log lines of {name}")
    for name in statuses.keys() - lines.keys():
        yield Violation("records", f"an answer without a log line: {name}")
    for line in written.lines:
        if line["status"] != statuses.get(line["id"], line["status"]):
            yield Violation("records", f"status {statuses[line['id']]} is logged as {line['status']}")
        if line["ending"] == "internal":
            yield Violation("internal error", f"request {line}")


def counted(metrics: str) -> tuple[int, int]:
    """Give how many requests were counted, and how many are in flight."""
    sums = Counter[str]()
    for kind, value in SAMPLE.findall(metrics):
        sums[kind] += int(float(value))
    return sums["total"], sums["in_flight"]
