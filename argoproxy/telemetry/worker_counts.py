"""The counts of all workers, added up from the files of their slots; read by any process that has the folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from argoproxy.errors import MetricsUnavailable
from argoproxy.telemetry.slots import Slots


class WorkerCounts:
    """The counts in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._slots = folder, Slots(folder)

    def merge(self) -> Iterable[Metric]:
        """Return the counts of all workers; of ended ones all but what was open. Raises MetricsUnavailable."""
        # Sorted: sums of fractions depend on the order, and a counter must never fall, not even by a rounding error.
        return merge_files(sorted(self._files()))

    def merge_totals(self) -> Iterable[Metric]:
        """Return the counts of all workers without what is open. No lock is taken: a process beside the workers can't
        delay one by it."""
        files = self._folder.glob("*.db")
        return merge_files(sorted(str(file) for file in files if not _is_gauge(file) and has_content(file)))

    def _files(self) -> list[str]:
        try:
            with self._slots.exclusive():
                stale = {gauge_file(slot) for slot in self._slots.free_slots()}
                files = self._folder.glob("*.db")
                return [str(file) for file in files if file.name not in stale and has_content(file)]
        except TimeoutError:
            raise MetricsUnavailable("The workers' counts are locked by another process; try again.") from None


def merge_files(files: Sequence[str]) -> Iterable[Metric]:
    """Return the sums of files of counts."""
    metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return metrics


def has_content(file: Path) -> bool:
    """Return whether a worker has done more than create the file: an empty one can't be parsed."""
    return file.exists() and file.stat().st_size > 0


def _is_gauge(file: Path) -> bool:
    return file.name.startswith("gauge")


def gauge_file(slot: int) -> str:
    """Return the name of the file with what is open in the worker of a slot."""
    return f"gauge_livesum_{slot}.db"


def sum_of(metric: Metric | None) -> int:
    """Return the sum of all samples, 0 without any."""
    return sum(int(sample.value) for sample in metric.samples) if metric else 0


def sums_by(metric: Metric | None, label: str) -> dict[str, int]:
    """Return the sums by the values of a label, sorted."""
    sums: dict[str, int] = {}
    for sample in metric.samples if metric else ():
        sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + int(sample.value)
    return dict(sorted(sums.items()))
