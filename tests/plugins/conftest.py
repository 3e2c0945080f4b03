"""Plug-in classes in a folder of their own, from which they can be imported during a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PLUGINS = '''
import sys

from argoproxy.api import BadRequest, BaseUpstream, Document, Event, Principal, UpstreamRequest

REQUEST = UpstreamRequest("GET", "http://x", ())


class Minimal:
    def completion_request(self, call):
        return {"bug": "no request"}.get(call.model, REQUEST)

    def read_completion(self, reply, call):
        yield [] if call.model == "bug" else [Event(b"x")]
        yield ["no event"]

    def read_error(self, status, headers, body):
        return BadRequest("bad") if status == 400 else "no error"


class Derived(BaseUpstream):
    completion_request = Minimal.completion_request
    read_completion = Minimal.read_completion


class Complete(Minimal):
    def aliases(self, model):
        return (model, "other")

    def refuses_mode(self, error):
        return error.status == 418

    def filters(self, call):
        return (FailingFilter(),)

    def embedding_requests(self, call):
        return (REQUEST,)

    def read_embeddings(self, bodies, call):
        return Document(bodies[0])

    def model_list_request(self, request):
        return REQUEST

    def read_model_list(self, body, name, created):
        return Document(body)

    def static_models(self, created):
        return [{"id": "mine"}]

    def probe_request(self):
        return REQUEST

    def forward_request(self, request):
        return REQUEST


class FailingFilter:
    def feed(self, batch):
        raise KeyError if batch else None

    def finish(self):
        return ()


class Callers:
    def authenticate(self, headers):
        if not headers:
            return None
        return {"k": Principal("ann"), "n": Principal(None)}.get(headers[0][1], 5)


class Signer:
    def __call__(self, prepared):
        if prepared.url.endswith("exit"):
            sys.exit(3)
        prepared.headers["X-Signed"] = prepared.url.rpartition("/")[2]
        return {"none": None, "true": True}.get(prepared.headers["X-Signed"], prepared)


class Returning(Minimal):
    """Returns from each method what it was configured with."""

    def __init__(self, **results):
        self.results = results

    def __getattr__(self, name):
        if name not in self.results:
            raise AttributeError(name)
        return lambda *_: self.results[name]

    def read_completion(self, reply, call):
        yield from self.results["batches"]


class Picky:
    def __init__(self, size):
        if size == 3:
            sys.exit(3)
        if size > 5:
            raise ValueError("size is too large")
        raise KeyError("size")

    def __call__(self, outcome):
        pass
'''


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins_of_a_test.py").write_text(PLUGINS)
    (tmp_path / "broken_of_a_test.py").write_text("import none_such")
    (tmp_path / "renamed_of_a_test.py").write_text("from argoproxy.protocol.none_such import X")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "plugins_of_a_test", raising=False)
