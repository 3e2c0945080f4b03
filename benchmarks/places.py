"""What places at upstreams cost (`max_concurrent`), in microseconds of CPU, with so many in use."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from argoproxy.protocol.resilience.waiting import PlaceLimits, Pool, hash_name
from argoproxy.shared_state.rows import WorkerGroup
from argoproxy.shared_state.upstream_places import Ticket, UpstreamPlaces, open_places

IN_USE = (8, 64, 256, 1024)
WAITING = 32
TIMES = 300
KEY = hash_name("anna")


def main() -> None:
    """Print the figures."""
    print(f"{'in use':>8} {'take and release':>18} {'refuse':>10} {'wait and get':>14}")
    for count in IN_USE:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            figures = Scene(open_places(WorkerGroup(Path(folder))), count).measure_all()
        print(f"{count:>8} {figures[0]:>18.1f} {figures[1]:>10.1f} {figures[2]:>14.1f}")


class Scene:
    """So many requests at an upstream, of a rule with a limit of its own."""

    def __init__(self, places: UpstreamPlaces, count: int) -> None:
        self.places, self.count = places, count
        places.most_waiting = 2 * WAITING
        self.running = [self.take(count) for _ in range(count)]
        self.line: list[Ticket] = []

    def measure_all(self) -> tuple[float, float, float]:
        """Measure with room for one more; with none; with a line, from which one gets a place while another comes."""
        free_us = measure(lambda: self.take(self.count + 1).release())
        refuse_us = measure(self.refuse)
        self.line = [self.take(self.count) for _ in range(WAITING)]
        return free_us, refuse_us, measure(self.take_turns)

    def take(self, limit: int) -> Ticket:
        """Take a place, or wait for one."""
        pools = (Pool(hash_name("up"), limit), Pool(hash_name("up", "rule"), limit))
        options = PlaceLimits(pools, WAITING + 1, 10.0)
        ticket = self.places.take_free(KEY, options) or self.places.take(KEY, [options])
        assert ticket
        return ticket

    def refuse(self) -> None:
        """Ask for a place where there is none."""
        assert not self.places.take_free(KEY, PlaceLimits((Pool(hash_name("up"), self.count),), 0, 0.0))

    def take_turns(self) -> None:
        """Free a place, which goes to the first of those that wait, and have another one wait."""
        self.line.append(self.take(self.count))
        self.running.pop(0).release()
        self.running.append(self.line.pop(0))
        assert not self.running[-1].is_waiting()


def measure(work: Callable[[], object]) -> float:
    """Return the microseconds of one time, in the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(TIMES):
            work()
        best = min(best, time.process_time() - started)
    return best / TIMES * 1e6


if __name__ == "__main__":
    main()
