"""Tables of the documentation name what the code has: fields, endings and events of the log, fields of the journal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from argoproxy.errors import Ending
from argoproxy.protocol.access.masking import Masker
from argoproxy.telemetry.journal.record import JournalRecord
from argoproxy.telemetry.journal.writer import CLIENT_FILE, JournalFiles, JournalWriter
from argoproxy.telemetry.outcome import Outcome
from argoproxy.upstreams.base import SERVED_PATHS
from tests.support.outcomes import outcome
from tests.support.pages import fences
from tests.support.processes import ROOT

RUNNING, JOURNAL = ROOT / "docs" / "running.md", ROOT / "docs" / "journal.md"

#: Variables that servers and clients read.
OF_OTHER_PROGRAMS = {"ANTHROPIC_BASE_URL", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_HOST"}


def first_column(heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading of docs/running.md, without its head."""
    section = RUNNING.read_text().partition(f"\n{heading}\n")[2].partition("\n#")[0]
    table = section.partition("| --- |")[2]
    return [name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`(\w+)`", row)]


def test_the_fields_of_the_log_are_listed() -> None:
    fields = [re.sub(r"_s$", "_ms", name).removesuffix("_nanos") for name in Outcome.__slots__]
    assert sorted(first_column("## Log")) == sorted(fields)


def test_the_endings_are_listed() -> None:
    assert first_column("### Endings") == [str(ending) for ending in Ending]


def test_the_events_of_the_log_are_listed() -> None:
    code = "".join(file.read_text() for file in sorted((ROOT / "argoproxy").rglob("*.py")))
    assert sorted(first_column("### Events")) == sorted(set(re.findall(r'"code=([a-z_]+)', code)))


def test_the_journal_s_sample_has_every_field(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path, 1_000_000, 1)
    JournalWriter(files, "full", Masker()).write(JournalRecord(), outcome())
    (written,) = (tmp_path / CLIENT_FILE).read_text().splitlines()
    sample = next(fence for fence in fences(JOURNAL) if fence.language == "json")
    assert list(json.loads(sample.text)) == list(json.loads(written))


def test_every_path_that_is_served_is_listed() -> None:
    page = (ROOT / "docs" / "endpoints.md").read_text()
    assert [path for path in SERVED_PATHS if f"`{path}`" not in page and f" {path}`" not in page] == []


@pytest.mark.parametrize("name", ["README.md", "docs/symptoms.md", "docs/tutorial.md", "docs/deploy.md"])
def test_every_variable_that_a_page_tells_to_set_exists(name: str) -> None:
    """Those that docs/settings.md names beside the settings, and those of other programs, do."""
    known = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text())) | OF_OTHER_PROGRAMS
    assert set(re.findall(r"`([A-Z_]{4,})(?:=[^`]*)?`", (ROOT / name).read_text())) - known == set()
