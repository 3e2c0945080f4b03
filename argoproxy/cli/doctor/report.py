"""A report of findings: as text, what to fix first in the first line; as JSON, to be attached to a bug report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from argoproxy.cli.doctor.judge.findings import HERE, Finding, Status, by_urgency
from argoproxy.protocol.access.printable import printable

_MARKS = {Status.OK: "ok", Status.INFO: "info", Status.WARN: "warn", Status.FAIL: "FAIL", Status.SKIPPED: "-"}


@dataclass(frozen=True, slots=True)
class Report:
    """Findings in the order of the checks, with the titles of their subjects, the versions, and what it took."""

    findings: Sequence[Finding]
    titles: dict[str, str]
    system: str
    version: str
    ms: int
    chats_sent: int

    @property
    def has_failed(self) -> bool:
        """Whether something must be changed."""
        return any(finding.status is Status.FAIL for finding in self.findings)

    @property
    def has_warned(self) -> bool:
        """Whether something should be changed."""
        return any(finding.status is Status.WARN for finding in self.findings)

    @property
    def counts(self) -> Counter[Status]:
        """How many findings there are of each status."""
        return Counter(finding.status for finding in self.findings)


def first_line(report: Report) -> str:
    """Return what to fix first. Where upstreams need nothing, also that they work, and where thoughts come."""
    urgent = by_urgency(report.findings)
    if not urgent:
        return _describe_success(report, "All is well")
    failed, warned = report.counts[Status.FAIL], report.counts[Status.WARN]
    counted = _count(failed, "problem") if failed else _count(warned, "warning")
    works = "" if failed or urgent[0].subject != HERE else _describe_success(report, "Chats work") + " "
    return f"{works}{counted}: {urgent[0].text.rstrip('.?')}."


def _describe_success(report: Report, state: str) -> str:
    """Return that all is well as far as it was asked, and where thoughts come."""
    thoughts = next((one for one in report.findings if one.code == "thoughts" and one.status is Status.INFO), None)
    unasked = next((one for one in report.findings if one.code == "chat.whole" and one.status is not Status.OK), None)
    if unasked:
        state = f"Nothing wrong was found, but no model was asked ({unasked.text})"
    return f"{state}: {thoughts.text}." if thoughts else f"{state}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's, first'}"


def show_text(report: Report) -> Iterator[str]:
    """Yield the lines of a report: what to fix first and how, then all findings by subject, then the sums."""
    yield first_line(report)
    urgent = by_urgency(report.findings)
    if urgent and urgent[0].fix:
        yield f"  fix: {urgent[0].fix}"
    yield ""
    yield f"argoproxy {report.version} · {report.system}"
    for subject, findings in groupby(report.findings, lambda finding: finding.subject):
        yield ""
        yield f"{subject}  {report.titles.get(subject, '')}".rstrip()
        for (status, text), alike in groupby(findings, lambda finding: (finding.status, finding.text)):
            if status is Status.SKIPPED:
                yield f"  {_MARKS[status]:5}{', '.join(finding.code for finding in alike)}: {text}"
                continue
            for finding in alike:
                yield from _show_finding(finding)
    yield ""
    yield _sums(report)


def _show_finding(finding: Finding) -> Iterator[str]:
    yield f"  {_MARKS[finding.status]:5}{finding.code:16}{finding.text}"
    if finding.fix:
        yield f"       {'':16}fix: {finding.fix}"


def _sums(report: Report) -> str:
    counts = report.counts
    named = (
        f"{counts[Status.OK] + counts[Status.INFO]} ok",
        _count_plain(counts[Status.WARN], "warning"),
        f"{counts[Status.FAIL]} failed",
        f"{counts[Status.SKIPPED]} skipped",
        f"{report.ms / 1000:.1f} s",
        f"{_count_plain(report.chats_sent, 'chat request')} sent" if report.chats_sent else "no model was asked",
    )
    return " · ".join(named)


def _count_plain(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_json(report: Report) -> str:
    """Return a report as a JSON document."""
    document = {
        "version": report.version,
        "system": report.system,
        "first": first_line(report),
        "summary": {
            **{status.value: report.counts[status] for status in Status},
            "ms": report.ms,
            "chats_sent": report.chats_sent,
        },
        "checks": [_finding_as_json(finding) for finding in report.findings],
    }
    return json.dumps(document, indent=2, default=str)


def _finding_as_json(finding: Finding) -> dict[str, object]:
    fields = asdict(finding)
    fields.pop("blocks")
    return {"code": fields.pop("code"), "subject": fields.pop("subject"), **fields}


def lines_of(report: Report) -> Iterator[str]:
    """Yield the lines of the text, safe for a terminal."""
    return map(printable, show_text(report))
