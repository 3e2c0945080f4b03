"""What the tests of the documentation take for the same, and what not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.samples import shows, split_console
from tests.support.pages import fences
from tests.support.processes import ROOT

ID, OTHER_ID = "7db40caa6e3f7d4e0f9a2b6c8d1e4f7a", "77e2b1d2c9a94a53a8db7d1b2a3c4d5e"


@pytest.mark.parametrize(
    ("printed", "sample"),
    [
        ("status=200 ms=4", "status=200 ms=42.5"),
        (f"id={OTHER_ID} end", f"id={ID} end"),
        ("2026-11-22T20:01:02.5Z up", "2026-11-21T10:34:19.549Z up"),
        ("model     ms\nqwen    12", "model ms\nqwen 1894"),
        ("a, then much\nmore, then b", "a…b"),
        ("before\nHello!\nafter", "Hello!\n"),
        ("anything", ""),
    ],
)
def test_numbers_ids_times_and_blanks_may_differ(printed: str, sample: str) -> None:
    assert shows(printed, sample)


@pytest.mark.parametrize(
    ("printed", "sample"),
    [("status=ok", "status=200"), ("ending=complete", "ending=client_gone"), ("b then a", "a…b"), ("", "Hello!")],
)
def test_words_may_not(printed: str, sample: str) -> None:
    assert not shows(printed, sample)


def test_a_console_session_is_commands_with_what_they_print() -> None:
    session = "$ one \\\n  --more\nprinted\n$ two\n$ three\n1\n2\n"
    assert split_console(session) == [("one \\\n  --more\n", "printed\n"), ("two\n", ""), ("three\n", "1\n2\n")]


def test_a_fence_has_its_comment_its_place_and_no_margin(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n<!-- not run: because -->\n```bash\na\n```\n\n1. b\n\n   ```yaml\n   c: 1\n     d\n   ```\n"
    )
    first, second = fences(page)
    assert (first.line, first.language, first.text, first.kind, first.rest) == (4, "bash", "a\n", "not run", "because")
    assert (second.line, second.language, second.text, second.mark) == (10, "yaml", "c: 1\n  d\n", "")


def test_the_readme_is_short_and_shows_what_the_demo_thinks() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count("\n") < 100
    (thought,) = re.findall(r"\| the model sends \| `(<think>.*</think>)", readme)
    assert thought in (ROOT / "docs" / "tutorial.md").read_text(), "where a command shows it"
