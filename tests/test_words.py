"""The rules of names and words: what an engineer reads at first sight, a stranger understands."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "argoproxy"
FILES = sorted(PACKAGE.rglob("*.py"))
#: The modules by the folder of the package that they are in, at any depth.
ROOMS = {
    room.name: [file for file in FILES if room in (file, *file.parents)]
    for room in sorted(PACKAGE.iterdir())
    if room.suffix == ".py" or (room / "__init__.py").exists()
}
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: Participles that don't end in -ed. `read`, `put`, `set`, `cut`, `split` and `let` are verbs as well.
IRREGULAR = set(
    "told heard shown said given found made taken written known gone kept left held sent begun spoken sought meant "
    "lost built brought caught chosen done drawn felt hidden led met paid seen sold spent stood taught thought "
    "understood won worn torn thrown grown bound spelt spelled".split()
)
#: Verbs and nouns that end in -ed.
NO_PARTICIPLE = {"feed", "need", "seed", "speed", "embed", "shed", "exceed", "proceed", "succeed"}
#: One dialect's files are named as another's: they mean the same.
DIALECTS = {"upstreams/argo", "upstreams/dashscope", "upstreams/anthropic"}
#: Words that a reader of technical English stumbles over, and phrases that hide who does what.
BANNED = re.compile(
    r"\b(whom|whose bidding|nobody|somebody|everybody|whoever|whosoever|who asks|who asked|who reads|is told|are told|"
    r"was told|were told|be told|told apart|told by|told of|of ours|of the operator's|lets? nobody|a door|the door|"
    r"our door|no news|for ever|the house|by and by|aloud|that is none|is a length|in vain|what is said|what was said|"
    r"has said|have said|it says itself|leads nowhere|goes astray)\b",
    re.IGNORECASE,
)


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def is_participle(name: str) -> bool:
    word = name.strip("_")
    return "_" not in word and (word in IRREGULAR or (word.endswith("ed") and word not in NO_PARTICIPLE))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            marks = {ast.unparse(mark) for mark in node.decorator_list}
            if not marks & {"property", "cached_property", "functools.cached_property"}:
                yield node


@pytest.mark.parametrize("room", ROOMS)
def test_a_function_is_named_by_what_it_does(room: str) -> None:
    assert [
        f"{name_of(file)}:{node.lineno}: {node.name}"
        for file in ROOMS[room]
        for node in functions(ast.parse(file.read_text()))
        if is_participle(node.name)
    ] == []


def test_no_class_name_is_used_twice() -> None:
    names = Counter(
        node.name.strip("_")
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_name_is_used_twice() -> None:
    places: dict[str, set[str]] = {}
    for file in FILES:
        folder = file.parent.relative_to(PACKAGE).as_posix()
        places.setdefault(file.name, set()).add("a dialect" if folder in DIALECTS else folder)
    assert {name: rooms for name, rooms in places.items() if len(rooms) > 1 and not name.startswith("__")} == {}


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and the strings of a module, docstrings included, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


@pytest.mark.parametrize("room", ROOMS)
def test_code_is_explained_in_plain_words(room: str) -> None:
    assert [
        f"{name_of(file)}:{line}: {match.group(0)}"
        for file in ROOMS[room]
        for line, text in prose(file)
        if (match := BANNED.search(text.replace("\n", " ")))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_written_in_plain_words(page: Path) -> None:
    found = [
        f"line {number}: {match.group(0)}"
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if (match := BANNED.search(line))
    ]
    assert found == []
