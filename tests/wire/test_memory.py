"""What a request may cost in memory and time, whatever it or its reply holds; real Gunicorn."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream, eventually

PATH = "/v1/chat/completions"
MIB = 1024 * 1024
BEGINNING = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"z":['


def memory_mib(proxy: Proxy, name: str) -> int:
    """Return VmHWM (the peak) or VmRSS of the only worker."""
    (worker,) = eventually(proxy.workers)
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())
    return int(found[1]) // 1024 if found else 0


@pytest.fixture
def door(start: Serve, upstream: Upstream) -> Proxy:
    door = start(TARGET_BASE_URL=upstream.url, **UNCOVERED)
    assert ask(door.port, "POST", PATH, BEGINNING + b"0]}").status == 200
    return door


@pytest.mark.parametrize("piece", [b"[]", b"{}", b"-9", b'{"a":[]}'])
def test_a_bomb_of_small_values_is_refused_in_little_memory(door: Proxy, piece: bytes) -> None:
    before = memory_mib(door, "VmRSS")
    bomb = BEGINNING + (piece + b",") * (16 * MIB // (len(piece) + 1)) + b"0]}"
    answer = ask(door.port, "POST", PATH, bomb)
    assert answer.status == 400
    assert "more than" in answer.error["message"]
    assert memory_mib(door, "VmHWM") - before < 6 * len(bomb) // MIB
    eventually(lambda: memory_mib(door, "VmRSS") - before < 16)


def test_a_deep_one_is_refused(door: Proxy) -> None:
    for piece in (b"[", b'{"a":'):
        answer = ask(door.port, "POST", PATH, BEGINNING + piece * 100_000)
        assert answer.status == 400


def test_a_bomb_in_a_reply_is_refused_in_little_memory(door: Proxy, upstream: Upstream) -> None:
    before = memory_mib(door, "VmRSS")
    bomb = b'{"choices":[{"index":0,"message":{"content":"a"}}],"z":[' + b"[]," * (16 * MIB // 3) + b"0]}"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(bomb)}\r\n\r\n"
    name = upstream.script(["send", head], ["send", bomb.decode()])
    answer = ask(door.port, "POST", f"{PATH}?script={name}", BEGINNING + b"0]}", X_Script=name)
    assert answer.status == 502
    assert memory_mib(door, "VmHWM") - before < 8 * len(bomb) // MIB
    eventually(lambda: memory_mib(door, "VmRSS") - before < 24)


def test_a_body_has_the_size_that_is_set(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, MAX_BODY_SIZE="0.5")
    padding = b" " * (MIB // 2 - len(BEGINNING) - 3)
    assert ask(door.port, "POST", PATH, BEGINNING + b"0]}" + padding).status == 200
    for path in (PATH, "/v1/completions", "/v1/embeddings"):
        assert ask(door.port, "POST", path, BEGINNING + b"0]} " + padding).status == 413
    assert ask(door.port, "POST", "/v1/audio/x", BEGINNING + b"0]} " + padding).status != 413


@pytest.mark.parametrize("size", [b"0", b"-1", b"many"])
def test_a_size_that_is_none_refuses_the_start(tmp_path: Path, size: bytes) -> None:
    with pytest.raises(AssertionError, match=r"max_body_size|MAX_BODY_SIZE"):
        Proxy(tmp_path, {"DEMO": "1", "MAX_BODY_SIZE": size.decode()})


@pytest.mark.parametrize("filling", [" ", "\n", "\t\r", "a", "-", "\u4e16", "1 "])
def test_a_prompt_of_a_million_characters_stops_nobody(serve: Serve, upstream: Upstream, filling: str) -> None:
    """Its tokens are estimated for the gateway, which counts none: while `re` works, no other thread does."""
    door = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me")
    prompt = filling * (1_000_000 // len(filling))
    body = {"model": "gpt4o", "messages": [{"role": "user", "content": prompt}]}
    answer = ask(door.port, "POST", PATH, json.dumps(body, ensure_ascii=False).encode())
    assert answer.status == 200
    assert json.loads(answer.body)["usage"]["prompt_tokens"] >= 1
    assert ask(door.port, "GET", "/health/live").status == 200
