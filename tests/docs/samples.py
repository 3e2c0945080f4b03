"""Compares what a command printed with the sample of a page: its words count, not its numbers, ids and times."""

from __future__ import annotations

import re

_PARTS = re.compile(
    r"(?P<gap>…)|(?P<space>\s+)|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d-\d\d \d\d:\d\d:\d\d)"
    r"|(?P<id>\b(?=[a-f]*\d)[0-9a-f]{8,}\b)|(?P<number>\d+(?:\.\d+)?)|(?P<text>.)",
    re.DOTALL,
)
_PATTERNS = {
    "gap": r"[\s\S]*?",
    "space": r"\s+",
    "time": r"[\dTZ:. -]+",
    "id": r"[0-9a-f]+",
    "number": r"\d+(?:\.\d+)?",
}


def sample_pattern(sample: str) -> re.Pattern[str]:
    """Return a pattern of all texts that differ from a sample in numbers, ids, times, blanks, and where it has `…`."""
    parts = _PARTS.finditer(sample.strip())
    return re.compile("".join(_PATTERNS.get(part.lastgroup or "", re.escape(part.group())) for part in parts))


def shows(printed: str, sample: str) -> bool:
    return sample_pattern(sample).search(printed) is not None


def split_console(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console session, which follow `$ `, each with the sample of what it prints."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        command, sample = found[-1] if found else ("", "")
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif command.endswith("\\\n") and not sample:
            found[-1] = (command + line, "")
        else:
            assert found, "a console session begins with `$ `"
            found[-1] = (command, sample + line)
    return found
