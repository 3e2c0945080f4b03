"""A finding: what one check came to. Every code is listed in docs/doctor.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

#: The subject of findings about this machine.
HERE = "here"

FactsT = TypeVar("FactsT")


class Status(StrEnum):
    """`info` only informs; `skipped` was not checked, because another check failed or because it was not wanted."""

    OK = "ok"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what is the case, `fix` what to change (one remedy, "" if there is none), `evidence` what that is
    based on. `blocks` says that checks that need this one make no sense now."""

    code: str
    status: Status
    text: str
    fix: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    subject: str = HERE
    blocks: bool = False


def pass_check(code: str, text: str, **evidence: Any) -> Finding:
    """Return a finding that all is well."""
    return Finding(code, Status.OK, text, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Check(Generic[FactsT]):
    """One check: its code, the codes that it needs, and its verdict; None where it does not apply."""

    code: str
    needs: tuple[str, ...]
    judge: Callable[[FactsT], Finding | None]


def run_checks(checks: Sequence[Check[FactsT]], facts: FactsT, subject: str) -> Iterator[Finding]:
    """Yield the findings of the checks in their order. What needs a check that failed is skipped, and names it."""
    causes: dict[str, str] = {}
    for check in checks:
        cause = next((causes[need] for need in check.needs if need in causes), "")
        finding = skip(check.code, f"because of {cause}") if cause else check.judge(facts)
        if finding is None:
            continue
        if cause or finding.status is Status.FAIL or finding.blocks:
            causes[check.code] = cause or check.code
        yield replace(finding, subject=subject)


def skip(code: str, reason: str) -> Finding:
    """Return the finding of a check that was left out."""
    return Finding(code, Status.SKIPPED, f"skipped: {reason}")


def by_urgency(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that want a change, the most urgent first: failures before warnings, and of these those of
    upstreams before those of this machine."""
    ranks = {Status.FAIL: 0, Status.WARN: 1}
    wanted = [finding for finding in findings if finding.status in ranks]
    return sorted(wanted, key=lambda one: (ranks[one.status], one.status is Status.WARN and one.subject == HERE))
