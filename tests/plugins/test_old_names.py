"""Plug-ins that were written before argoproxy.api existed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from argoproxy import api
from argoproxy.config.config import load
from argoproxy.plugins.loader import add_plugin_folders, check_plugins
from argoproxy.plugins.old_names import METHODS, MODULES, NAMES
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.routing.call import Call
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.base import BaseUpstream

#: The example that the documentation had then, which reads the reply in pieces here, and lists models.
SHOUTING = """
from argoproxy.outcome import Outcome
from argoproxy.protocol.auth import Principal
from argoproxy.protocol.sse import Document
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.failures import loaded, refusal


class Shouting:
    def __init__(self, base_url: str, loud: bool = False) -> None:
        if not isinstance(loud, bool):
            raise ValueError("loud must be true or false")
        self.base_url, self.loud = base_url, loud

    def request(self, call):
        text = call.body["messages"][-1]["content"].encode()
        return UpstreamRequest("POST", f"{self.base_url}/speak", (), text, len(text))

    def batches(self, reply, call):
        said = loaded(b"".join(reply.pieces()))["body"]
        message = {"role": "assistant", "content": said.upper() if self.loud else said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        top = {"id": call.id, "object": "chat.completion", "created": call.created, "model": call.asked}
        yield [Document.of({**top, "choices": [choice]})]

    def error(self, status, headers, body):
        return refusal(status, headers, body)

    def spellings(self, model):
        return [model, model.upper()]

    def own_models(self, created):
        return [{"id": "shout"}]
"""


class Reply:
    status, headers = 200, ()

    def iter_bytes(self) -> Iterator[bytes]:
        yield b'{"body": '
        yield b'"hi"}'

    iter_raw = iter_bytes

    def read(self) -> bytes:
        return b"".join(self.iter_bytes())


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    for name in [*MODULES, "shouting_of_a_test"]:
        sys.modules.pop(name, None)


def test_a_class_with_the_old_imports_and_methods_still_works(tmp_path: Path) -> None:
    (tmp_path / "shouting_of_a_test.py").write_text(SHOUTING)
    add_plugin_folders([str(tmp_path)])
    options = {"base_url": "http://x", "loud": True}
    shouting = PluginUpstream("mine", PluginSpec("shouting_of_a_test:Shouting", options))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    call = Call("id", 1, "/v1/chat/completions", "", (), body, None, requested_model="alias")
    assert shouting.completion_request(call).body == b"Hi"
    ((document,),) = shouting.read_completion(Reply(), call)
    assert document.chunk is not None
    assert document.chunk["model"] == "alias"
    assert document.chunk["choices"][0]["message"]["content"] == "HI"
    assert shouting.read_error(400, (), b"no").status == 400
    assert shouting.aliases("m") == ["m", "M"]
    assert shouting.static_models(1) == [{"id": "shout"}]


def test_the_start_accepts_such_a_class(tmp_path: Path) -> None:
    (tmp_path / "shouting_of_a_test.py").write_text(SHOUTING)
    upstreams = {"mine": {"kind": "shouting_of_a_test:Shouting", "base_url": "http://localhost:9"}}
    (tmp_path / "config.yaml").write_text(json.dumps({"upstreams": upstreams}))
    check_plugins(load({}, tmp_path))


def test_every_old_name_has_a_public_new_one() -> None:
    assert set(NAMES.values()) <= set(api.__all__)
    assert not set(NAMES) & set(api.__all__)
    assert {"completion_request", "read_completion"} == {name for name in METHODS if not hasattr(BaseUpstream, name)}
