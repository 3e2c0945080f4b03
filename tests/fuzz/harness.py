"""The proxy with everything on, before the fuzzer's upstream; and whether all invariants hold after a case."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.fuzz.answers import answer_violations, comparison_violations, secrets_of
from tests.fuzz.case import CLIENT_KEY, ORDINARY, SERVER_KEYS, Case, Sent, Violation, request
from tests.fuzz.client import BoundedClient, Seen, act
from tests.fuzz.mutate import encode
from tests.fuzz.records import KEYS, Records, Tail, Written, counted, disagreements, leaked_keys
from tests.fuzz.requests import CHAT, ORDINARY_BODIES
from tests.fuzz.upstream import NO_CASE, PlayedUpstream
from tests.support.client import Answer, ask
from tests.support.processes import ROOT, UNCOVERED, Proxy, eventually

THREADS = 4
#: How long anything may take. It bounds waiting; nothing is measured by it.
PATIENCE_S = 20.0
SETTLED_S = 0.3
#: gevent has up to ten threads for what would block it, and ends those that were idle for seconds. A worker of threads
#: may probe both upstreams of the rule that has two.
LAZY_THREADS = {"gthread": 2, "gevent": 10}
QUIET_WORDS = (b"health", b"metrics")
UPSTREAMS = ("m1", "gpt-4o", "qwen-max", "native-1")
#: A worker may have threads that serve nothing else.
PROBES = ("/health", "/health/live", "/health/ready", "/metrics")

CONFIG = """
upstreams:
  plain: {{base_url: "http://127.0.0.1:{port}/v1", api_key: {plain}}}
  argo: {{kind: argo, base_url: "http://127.0.0.1:{port}/argoapi", user: fuzzer}}
  dashscope: {{kind: dashscope, base_url: "http://127.0.0.1:{port}/api/v1", api_key: {dashscope}}}
  native: {{base_url: "http://127.0.0.1:{port}/native/v1", native: true, api_key: {native}}}
  dead: {{base_url: "http://127.0.0.1:1/v1", api_key: {plain}}}
models:
  gone: {{upstream: dead}}
  safe: {{upstream: [dead, plain]}}
  brackets: {{think_tag_start: ["[THINK]", "<think>"], think_tag_end: ["[/THINK]", "</think>"]}}
  "gpt-*": {{upstream: argo}}
  "claude-*": {{upstream: argo}}
  "gemini-*": {{upstream: argo}}
  "text-embedding-3-*": {{upstream: argo}}
  "qwen-*": {{upstream: dashscope}}
  "text-embedding-v*": {{upstream: dashscope}}
  "native-*": {{upstream: native}}
  keep: {{reasoning: keep}}
  strip: {{reasoning: strip}}
  field: {{reasoning: field}}
  tags: {{reasoning: tags}}
  auto: {{reasoning: field, think_starts_open: auto}}
  open: {{think_starts_open: true}}
"""
ALLOWED = (
    "m1,gone,safe,brackets,keep,strip,field,tags,auto,open,gpt-*,claude-*,gemini-*,qwen-*,native-*,text-*,*sk-cli*"
)
APP = "cot_proxy:app"


class Harness:
    """A proxy, its upstream, and what it wrote so far."""

    def __init__(self, folder: Path, worker_class: str, app: str = APP, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self.worker_class = worker_class
        self.upstream = PlayedUpstream()
        (folder / "config.yaml").write_text(CONFIG.format(port=self.upstream.port, **SERVER_KEYS))
        self.proxy = Proxy(folder, _environment(worker_class, folder), _command(app))
        self._records = records_of(folder, self.proxy.port)
        self._written = Written()
        self._total = self._stuck = self._logged = 0
        self.endings, self.statuses = Counter[str](), Counter[str]()
        #: The keys that the metrics have not shown yet: what they show once, they show for good.
        self._unleaked = list(KEYS)
        self.workers: list[int] = []
        self.opened: dict[str, int] = {}
        self.set_baseline()

    def stop(self) -> None:
        self.proxy.stop()
        self.upstream.stop()
        self._records.close()

    def set_baseline(self) -> None:
        """Have every thread serve at once, then remember which workers there are and what they have open."""
        eventually(lambda: not list(self._is_served([])))
        self.upstream.case, self.upstream.delay_s = NO_CASE, 0.1
        bodies = [encode({"model": model, "messages": [{"role": "user", "content": "Hi"}]}) for model in UPSTREAMS]
        for asked in (*(request("POST", CHAT, body) for body in bodies), *(request("GET", path) for path in PROBES)):
            with ThreadPoolExecutor(2 * THREADS) as pool:
                list(pool.map(self._act, [Sent([asked])] * 2 * THREADS))
        self.upstream.delay_s = 0.0
        self.count()
        self._settle(set())
        time.sleep(SETTLED_S)
        self.workers = self.proxy.workers()
        self.opened = self._opened()
        self.opened["threads"] += LAZY_THREADS[self.worker_class]

    def run(self, case: Case) -> list[Violation]:
        """Have clients do what a case says, and tell which invariants did not hold."""
        self.upstream.case = case
        self.upstream.heads.clear()
        with ThreadPoolExecutor(THREADS if case.at_once else 1) as pool:
            seen = list(pool.map(self._act, case.sent))
        return list(self._violations(case, seen))

    def _act(self, sent: Sent) -> Seen:
        return act(self.proxy.port, sent, self.patience_s)

    def count(self) -> list[Violation]:
        """Compare the metrics with the log: since this was asked last, each request was counted once, and ended. A
        scrape costs more than a case, so this is for several of them together."""
        metrics = ""

        def is_counted() -> bool:
            nonlocal metrics
            with suppress(OSError, AssertionError):
                metrics = ask(self.proxy.port, "GET", "/metrics").body.decode()
            self._read()
            total, in_flight = counted(metrics)
            return in_flight <= self._stuck and total - self._total == self._logged

        self._eventually(is_counted)
        found = list(leaked_keys("the metrics", metrics, self._unleaked))
        self._unleaked = [key for key in self._unleaked if key not in metrics]
        total, in_flight = counted(metrics)
        if total - self._total != self._logged:
            found.append(Violation("metrics", f"counted {total - self._total}, logged {self._logged}"))
        if in_flight > self._stuck:
            found.append(Violation("in flight", f"{in_flight - self._stuck} for good"))
        self._total, self._stuck, self._logged = total, in_flight, 0
        found += self._written.violations
        self._written.violations.clear()
        return found

    def _violations(self, case: Case, seen: Sequence[Seen]) -> Iterator[Violation]:
        for sent, one in zip(case.sent, seen, strict=True):
            yield from one.violations
            for answer in one.answers:
                yield from answer_violations(answer, sent, case)
        yield from comparison_violations(case, seen)
        ordinary: list[Answer] = []
        yield from self._is_served(ordinary)
        answers = [*ordinary, *logged_answers(case, seen)]
        written = self._settle({answer.id for answer in answers})
        if all(CLIENT_KEY in secrets_of(sent) for sent in case.sent):
            yield from leaked_keys("what went upstream", "\n".join(self.upstream.heads), (CLIENT_KEY,))
        yield from written.violations
        yield from disagreements(written, answers)
        yield from self._open_violations()

    def _is_served(self, answers: list[Answer]) -> Iterator[Violation]:
        """Ask for what must be answered after any case."""
        for body in ORDINARY_BODIES:
            try:
                answer = self._chat(body, ordinary=True)
            except (OSError, AssertionError, ValueError) as error:
                yield Violation("next request", repr(error))
                continue
            answers.append(answer)
            if answer.status != 200 or b"Hello" not in answer.body:
                yield Violation("next request", f"status {answer.status}: {answer.body[:200]!r}")

    def _chat(self, body: bytes, *, ordinary: bool = False) -> Answer:
        headers = {"Authorization": f"Bearer {CLIENT_KEY}"} | ({ORDINARY: "1"} if ordinary else {})
        with BoundedClient(self.proxy.port, self.patience_s) as client:
            client.send("POST", "/v1/chat/completions", body, **headers)
            return client.answer()

    def _settle(self, ids: Set[str]) -> Written:
        """Wait until all answers are written down, in the log as in the journal. Return what was written since this was
        asked last."""

        def is_settled() -> bool:
            self._read()
            lines, entries = self._written.ids()
            return lines == entries and ids <= lines.keys()

        self._eventually(is_settled)
        written, self._written = self._written, Written()
        return written

    def _read(self) -> None:
        before = len(self._written.lines)
        self._records.read(self._written)
        new = self._written.lines[before:]
        self._logged += len(new)
        self.endings.update(line["ending"] for line in new)
        self.statuses.update(line["status"] for line in new)

    def _open_violations(self) -> Iterator[Violation]:
        if self.proxy.workers() != self.workers:
            yield Violation("worker died", f"{self.workers} became {self.proxy.workers()}")
            self.set_baseline()
        elif not self._eventually(lambda: not self._left_open()):
            for name, count in self._left_open().items():
                yield Violation(name, f"{count} more than before")
            self.opened = self._opened()

    def _left_open(self) -> dict[str, int]:
        return {name: now - self.opened[name] for name, now in self._opened().items() if now > self.opened[name]}

    def _opened(self) -> dict[str, int]:
        with suppress(FileNotFoundError):  # of a worker that ends just now
            threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.proxy.workers())
            return {"descriptors": self.proxy.descriptors(), "threads": threads}
        return {"descriptors": 0, "threads": 0}

    def _eventually(self, what: Callable[[], bool]) -> bool:
        """Whether something becomes true before patience runs out."""
        until, pause_s = time.monotonic() + self.patience_s, 0.001
        while not what():
            if time.monotonic() > until:
                return False
            time.sleep(pause_s)
            pause_s = min(0.1, 1.5 * pause_s)
        return True


def logged_answers(case: Case, seen: Sequence[Seen]) -> Iterator[Answer]:
    """Give the answers whose requests are written down: probes and scrapes are not."""
    for sent, one in zip(case.sent, seen, strict=True):
        if not any(word in b"".join(sent.pieces).lower() for word in QUIET_WORDS):
            yield from (answer for answer in one.answers if answer.id)


def records_of(folder: Path, port: int) -> Records:
    journal = folder / "journal"
    return Records(
        Tail(folder / f"log-{port}.txt"),
        Tail(journal / "client_interaction.jsonl"),
        Tail(journal / "server_interaction.jsonl"),
        Tail(journal / "log.log"),
    )


def _environment(worker_class: str, folder: Path) -> dict[str, str]:
    return {
        "WORKER_CLASS": worker_class,
        "WORKERS": "1",
        "THREADS": str(THREADS),
        "ENABLE_AUTH": "true",
        "API_KEY_SECRET": f"team={CLIENT_KEY}",
        "METRICS_OPEN": "true",
        "ALLOWED_MODELS": ALLOWED,
        "API_REQUEST_TIMEOUT": "10",
        "HEARTBEAT": "0.05",
        "EARLY_HEARTBEAT": "true",
        "CORS_ORIGINS": "http://a",
        "IMAGE_TIMEOUT": "1",
        "OUTPUT_PATH": str(folder / "journal"),
        "JOURNAL_MAX_BYTES": "20000000",
        "JOURNAL_FILES": "1",
        **UNCOVERED,
    }


def _command(app: str) -> list[str]:
    paths = ["-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT)]
    return [sys.executable, "-m", "gunicorn", *paths, app]
