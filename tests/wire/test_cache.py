"""Kept answers on real Gunicorn: who gets them, in which form, and which answers are never kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Answer, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scripts import DONE, Step, completion, event, reply, stream

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
LAST = f"data: {json.dumps({'id': 'up-1', 'object': 'chat.completion.chunk', 'choices': [], 'usage': USAGE})}\n\n"
EVENTS = [event("Hel"), event("lo"), event("", "stop"), LAST, DONE]


class Cached:
    """A proxy that keeps the answers of all models, in front of one scripted upstream."""

    def __init__(self, start: Serve, upstream: Upstream, folder: Path) -> None:
        self._start, self.upstream, self.folder = start, upstream, folder

    def serve(self, rule: str = "{cache: {ttl: 1h, sampling: true}}", **environ: str) -> Proxy:
        self.configure(rule)
        settings = {"CONFIG_PATH": str(self.folder / "config.yaml"), "STATE_PATH": str(self.folder / "state")}
        return self._start(**{**settings, **environ})

    def configure(self, rule: str) -> None:
        lines = ["models:", f'  "*": {rule}', f"upstreams: {{up: {{base_url: {self.upstream.url}}}}}"]
        (self.folder / "config.yaml").write_text("\n".join(lines))

    def script(self, *steps: Step) -> dict[str, str]:
        return {"X-Script": self.upstream.script(*steps)}

    def count(self, headers: dict[str, str]) -> int:
        return self.upstream.count(headers["X-Script"])


@pytest.fixture
def cached(start: Serve, upstream: Upstream, tmp_path: Path) -> Cached:
    return Cached(start, upstream, tmp_path)


def status_of(answer: Answer) -> str:
    status = answer.header("Cache-Status")
    assert answer.header("X-Cache") == ("HIT" if "; hit; " in status else "BYPASS" if "bypass" in status else "MISS")
    return status.partition("; ")[2].partition("; ttl=")[0]


def ask_until_kept(ask_once: Callable[[], Answer]) -> Answer:
    """Ask until the answer comes from the cache: it is stored after the client has its last byte."""
    answer: Answer = eventually(lambda: (answer := ask_once()).header("Age") and answer)
    return answer


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_second_request_gets_the_same_bytes(cached: Cached, *, is_stream: bool) -> None:
    proxy = cached.serve()
    headers = cached.script(*stream(*EVENTS)) if is_stream else cached.script(reply(body=completion("Hello")))
    first = chat(proxy.port, stream=is_stream, headers=headers)
    assert (first.status, status_of(first), first.header("Age")) == (200, "fwd=miss", "")
    kept = ask_until_kept(lambda: chat(proxy.port, stream=is_stream, headers=headers))
    assert (kept.status, status_of(kept), kept.body) == (200, "hit", first.body)
    assert cached.count(headers) == 1
    line = proxy.line(kept.id)
    assert (line["cache"], line["ending"], "upstream" in line) == ("hit", "complete", False)
