"""The codes of findings, their page, and the program's own words are the same."""

from __future__ import annotations

import re

from argoproxy.cli.doctor.judge.host_verdicts import HOST_CHECKS
from argoproxy.cli.doctor.judge.proxy_verdicts import PROXY_CHECKS
from argoproxy.cli.doctor.judge.surface_verdicts import UPSTREAM_CHECKS
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text()
#: The code of each check and those it needs, for each kind of subject.
NEEDS = [
    [(check.code, check.needs) for check in HOST_CHECKS],
    [(check.code, check.needs) for check in UPSTREAM_CHECKS],
    [(check.code, check.needs) for check in PROXY_CHECKS],
]
CODES = [code for checks in NEEDS for code, _ in checks]


def test_the_page_lists_every_code_in_the_order_of_the_checks() -> None:
    listed = re.findall(r"(?m)^\| `([a-z]+(?:\.[a-z]+)?)` \|", PAGE.partition("## The checks")[2])
    assert listed == CODES


def test_every_finding_has_a_code_of_a_check() -> None:
    text = "".join(file.read_text() for file in (ROOT / "argoproxy" / "cli" / "doctor" / "judge").glob("*.py"))
    used = set(re.findall(r'\b(?:Finding|pass_check|skip|_failed_chat|_not_asked)\(\s*"([a-z.]+)"', text))
    # Verdicts over several paths are made by one function, with the code as its argument.
    made = set(re.findall(r'surface_judge\("([a-z]+)"', text))
    assert used | made == set(CODES)


def test_what_a_check_needs_comes_before_it() -> None:
    for checks in NEEDS:
        seen: set[str] = set()
        for code, needs in checks:
            assert set(needs) <= seen, code
            seen.add(code)


def test_the_page_has_every_flag() -> None:
    source = (ROOT / "argoproxy" / "cli" / "doctor" / "examination.py").read_text()
    for flag in re.findall(r'"(--[a-z-]+)"', source):
        assert f"`{flag}" in PAGE, flag
