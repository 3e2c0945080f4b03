"""The pages of the documentation, as Markdown: their fences, headings and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

#: A fence, with the indent of a list that it is in, and the comment right before it.
_FENCE = re.compile(
    r"(?ms)^(?:(?P<margin> *)<!-- (?P<mark>[^\n]*?) -->\n\s*?)?"
    r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$"
)
_HEADING = re.compile(r"(?m)^#+ +(.+?) *$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|\[[^\]]+\]: +(\S+)")


@dataclass(frozen=True)
class Fence:
    """A fenced block. `mark` is the comment before it, `kind: rest`; `line` counts from 1."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def name(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def kind(self) -> str:
        """What the mark asks for; "" if there is none."""
        return self.mark.partition(":")[0].strip()

    @property
    def rest(self) -> str:
        """What the mark says beside its kind: a reason, a file, a status."""
        return self.mark.partition(":")[2].strip()


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages() -> list[Path]:
    """Return every page of the project."""
    folders = ("docs", "examples", "packaging")
    return [*sorted(ROOT.glob("*.md")), *(page for name in folders for page in sorted((ROOT / name).rglob("*.md")))]


def fences(page: Path) -> list[Fence]:
    text = page.read_text()
    return [
        Fence(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            re.sub(rf"(?m)^{match['indent']}", "", match["text"]),
            match["mark"] or "",
        )
        for match in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its fences and spans of code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page.read_text()))


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the links to files of the project: (path, anchor), either of which may be empty."""
    for match in _LINK.finditer(prose(page)):
        target = match[1] or match[2]
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as a forge makes them."""
    found, seen = set[str](), Counter[str]()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text())):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
