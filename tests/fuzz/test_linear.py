"""No piece of work on outside input is superlinear: every regular expression, every parser, by CPU time."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import argoproxy
from tests.fuzz.growth import MOST, growth
from tests.fuzz.parsers import CASES
from tests.fuzz.patterns import hard_inputs

Pattern = re.Pattern[Any]
#: Packages that only ./run_tests.sh --scale installs.
OPTIONAL = ("redis", "psycopg")


def compiled() -> Iterator[tuple[str, Pattern]]:
    """Find every regular expression that a module of the package holds, by where it is made."""
    for module in pkgutil.walk_packages(argoproxy.__path__, "argoproxy."):
        if module.name in NOT_IMPORTABLE:
            continue
        try:
            imported = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            continue
        source = Path(str(imported.__file__)).read_text()
        for name, value in vars(imported).items():
            if isinstance(value, re.Pattern) and f"\n{name} = re.compile(" in source:
                yield f"{module.name.removeprefix('argoproxy.')}.{name}", value


@cache
def find_uses() -> dict[str, set[str]]:
    """Find by which methods each name is used, anywhere in the package."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.setdefault(node.value.id, set()).add(node.attr)
    return found


PACKAGE = Path(argoproxy.__file__).parent
#: Importing them starts a server.
NOT_IMPORTABLE = ("argoproxy.server.gunicorn_config", "argoproxy.wsgi")
#: These read files of the operator's, and nothing that comes from outside.
OF_THE_OPERATOR = {
    "cli.setup_wizard._SETTING",
    "cli.setup_wizard._DOTENV",
    "config.values.layers.VARIABLE",
}
ANCHORED = {"match", "fullmatch"}
PATTERNS = dict(compiled())


def exhaust(pattern: Pattern, text: Any, methods: set[str]) -> None:
    """Use a pattern as it is used: at the start of a text, or at each place of it."""
    if methods & ANCHORED or not methods:
        pattern.fullmatch(text)
        pattern.match(text)
    if methods - ANCHORED or not methods:
        for _ in pattern.finditer(text):
            pass


def worst(pattern: Pattern, methods: set[str]) -> tuple[float, str]:
    """Return the fastest growth of a pattern, or the first that is too fast, and how the input that has it begins."""
    is_bytes = isinstance(pattern.pattern, bytes)
    found = (0.0, "")
    for make in hard_inputs(pattern):
        made = (lambda size, make=make: make(size).encode("latin-1", "replace")) if is_bytes else make
        found = max(found, (growth(made, lambda text: exhaust(pattern, text, methods)), repr(make(20))))
        if found[0] > MOST:
            break
    return found


@pytest.mark.parametrize("pattern", [r"\s*\n", r"a*b", r"(?:x|y)*z", r"\S*://"])
def test_a_quadratic_pattern_is_found(pattern: str) -> None:
    assert worst(re.compile(pattern), {"finditer"})[0] > MOST


def test_the_exceptions_exist() -> None:
    assert PATTERNS.keys() >= OF_THE_OPERATOR


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - OF_THE_OPERATOR))
def test_every_regular_expression_is_linear(name: str) -> None:
    ratio, text = worst(PATTERNS[name], find_uses().get(name.rpartition(".")[2], set()))
    assert ratio < MOST, text


@pytest.mark.parametrize("kind", sorted({name.partition(",")[0].partition(" ")[0] for name in CASES}))
def test_every_parser_and_filter_is_linear(kind: str) -> None:
    too_fast = {
        name: ratio
        for name, case in CASES.items()
        if name.partition(",")[0].partition(" ")[0] == kind and (ratio := growth(case.make, case.run)) >= MOST
    }
    assert too_fast == {}
