from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import AuthenticationError, BadRequest, NotFound, PluginFailed, UpstreamProtocolError
from argoproxy.plugins.loader import (
    Plugin,
    PluginAuth,
    PluginAuthenticator,
    add_plugin_folders,
    check_plugins,
    find_mistakes,
    instantiate,
)
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.access import PluginSpec

CLASSES = """
import sys

from argoproxy.errors import BadRequest
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.stream.sse import Document, Event
from argoproxy.upstreams import UpstreamRequest

ASKED = UpstreamRequest("GET", "http://x", ())


class Least:
    def completion_request(self, call):
        return {"refused": None, "odd": "no request"}.get(call.model, ASKED) or BadRequest.fail()

    def read_completion(self, reply, call):
        yield [] if call.model == "odd" else [Event(b"x")]
        yield ["odd"]

    def read_error(self, status, headers, body):
        return BadRequest("so") if status == 400 else "odd"


class Most(Least):
    def aliases(self, model):
        return (model, "other")

    def filters(self, call):
        return (Step(),)

    def embedding_requests(self, call):
        return (ASKED,)

    def read_embeddings(self, bodies, call):
        return Document(bodies[0])

    def model_list_request(self, request):
        return ASKED

    def read_model_list(self, listed, name, created):
        return Document(listed)

    def static_models(self, created):
        return [{"id": "mine"}]

    def probe_request(self):
        return ASKED

    def forward_request(self, request):
        return ASKED


class Step:
    def feed(self, batch):
        raise KeyError if batch else None

    def finish(self):
        return ()


class Caller:
    def authenticate(self, headers):
        if not headers:
            return None
        return {"k": Principal("ann"), "n": Principal(None)}.get(headers[0][1], 5)


class Signer:
    def __call__(self, prepared):
        if prepared.url.endswith("exit"):
            sys.exit(3)
        prepared.headers["X-Signed"] = prepared.url.rpartition("/")[2]
        return {"none": None, "odd": True}.get(prepared.headers["X-Signed"], prepared)


class Given(Least):
    # Gives what it was made with.

    def __init__(self, **given):
        self.given = given

    def __getattr__(self, name):
        if name not in self.given:
            raise AttributeError(name)
        return lambda *_: self.given[name]

    def read_completion(self, reply, call):
        yield from self.given["batches"]


class Picky:
    def __init__(self, size):
        if size == 3:
            sys.exit(3)
        if size > 5:
            raise ValueError("size is too large")
        raise KeyError("size")
"""


@pytest.fixture(autouse=True)
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_of_a_test.py").write_text(CLASSES)
    (tmp_path / "broken_of_a_test.py").write_text("import none_such")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("own_of_a_test", None)


def upstream(name: str) -> PluginUpstream:
    return PluginUpstream("mine", PluginSpec(f"own_of_a_test:{name}"))


def call(model: str) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), {"model": model}, b"")


def test_what_a_class_lacks_is_filled_in() -> None:
    least, request = upstream("Least"), ClientRequest("id", 1, "GET", "/v1/files", "", (), BytesBody(b""))
    assert (least.name, least.is_passthrough, least.resolves("x"), least.with_model_list(b"") is least) == (
        "mine",
        False,
        True,
        True,
    )
    assert (least.aliases("m"), least.filters(call("m")), least.static_models(1)) == (("m",), [], ())
    assert (least.shared_model_list_request(), least.probe_request()) == (None, None)
    with pytest.raises(BadRequest):
        least.embedding_requests(call("m"))
    for asked in (least.model_list_request, least.forward_request):
        with pytest.raises(NotFound):
            asked(request)


def test_what_a_class_has_is_asked() -> None:
    most, request = upstream("Most"), ClientRequest("id", 1, "GET", "/v1/files", "", (), BytesBody(b""))
    assert most.aliases("m") == ["m", "other"]
    for asked in (
        most.completion_request(call("m")),
        most.model_list_request(request),
        most.forward_request(request),
        most.probe_request(),
    ):
        assert isinstance(asked, UpstreamRequest)
    assert [one.url for one in most.embedding_requests(call("m"))] == ["http://x"]
    assert most.read_embeddings([b"{}"], call("m")).chunk == most.read_model_list(b"{}", "", 1).chunk == {}
    assert most.static_models(1) == [{"id": "mine"}]
    assert most.served_paths == {}
    assert most.read_error(400, (), b"").status == 400


def test_what_a_class_raises_or_gives_is_no_secret_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    most = upstream("Most")
    (step,) = most.filters(call("m"))
    failing: list[Callable[[], object]] = [
        lambda: most.completion_request(call("odd")),
        lambda: most.completion_request(call("refused")),
        lambda: most.read_error(500, (), b""),
        lambda: list(most.read_completion(None, call("m"))),  # type: ignore[arg-type]
        lambda: step.feed([Event(b"x")]),
        lambda: step.feed([]),
    ]
    for work in failing:
        with pytest.raises(PluginFailed):
            work()
    assert [record.getMessage() for record in caplog.records] == ["own_of_a_test:Most failed"] * len(failing)
    assert step.finish() == []


def test_a_doorkeeper_of_ones_own() -> None:
    authenticator = PluginAuthenticator(PluginSpec("own_of_a_test:Caller"))
    assert authenticator.authenticate((("X", "k"),)) == Principal("ann")
    with pytest.raises(AuthenticationError):
        authenticator.authenticate(())
    for odd in ("z", "n"):
        with pytest.raises(PluginFailed):
            authenticator.authenticate((("X", odd),))
    headers = (("authorization", "a"), ("X-API-Key", "b"), ("X-Else", "c"))
    assert authenticator.without_credentials(headers) == (("X-Else", "c"),)
    assert authenticator.query_without_credentials("key=a&else=c") == "else=c"


def test_a_signature_of_ones_own() -> None:
    sign = PluginAuth("here", PluginSpec("own_of_a_test:Signer"))
    assert sign(prepared("me")).headers["X-Signed"] == "me"
    for odd in ("none", "odd", "exit", "two%0d%0alines\r\n"):
        with pytest.raises(PluginFailed):
            sign(prepared(odd))


def prepared(said: str) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method, request.url = "GET", f"http://x/{said}"
    request.headers = requests.structures.CaseInsensitiveDict()
    return request


SENT: Any = UpstreamRequest("GET", "http://x", ())
ODD: dict[str, tuple[str, Any]] = {
    "a URL that is none": ("probe_request", replace(SENT, url=None)),
    "a URL with a blank": ("forward_request", replace(SENT, url="http://x/a b")),
    "a URL with an umlaut": ("model_list_request", replace(SENT, url="http://x/ä")),
    "a method that is none": ("probe_request", replace(SENT, method="GE T")),
    "a header of two lines": ("probe_request", replace(SENT, headers=(("X", "a\r\nY: b"),))),
    "a body of text": ("probe_request", replace(SENT, body="text")),
    "a length of something else": ("probe_request", replace(SENT, body=b"text", length=5)),
    "requests that are none": ("embedding_requests", [None]),
    "a list that is none": ("read_model_list", Document.of([])),  # type: ignore[arg-type]
    "embeddings that are none": ("read_embeddings", Document.of(None)),  # type: ignore[arg-type]
    "models without a name": ("static_models", ["m"]),
}


@pytest.mark.parametrize(("method", "given"), ODD.values(), ids=ODD.keys())
def test_what_can_not_be_used_is_the_fault_of_the_class(method: str, given: object) -> None:
    odd = PluginUpstream("mine", PluginSpec("own_of_a_test:Given", {method: given}))
    needed = {"probe_request": 0, "read_model_list": 3, "read_embeddings": 2}.get(method, 1)
    with pytest.raises(PluginFailed):
        getattr(odd, method)(*[None] * needed)


def chunk(text: str, reason: str | None = None) -> Event:
    return Event.of({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def read(given: Sequence[Any]) -> list[Batch]:
    one = PluginUpstream("mine", PluginSpec("own_of_a_test:Given", {"batches": given}))
    return list(one.read_completion(None, call("m")))  # type: ignore[arg-type]


def test_batches_may_be_anything_that_holds_events() -> None:
    first, last = chunk("a"), chunk("", "stop")
    document = Document.of({"choices": []})
    for given in ([(first, last, DONE)], [iter([first, last, DONE])]):
        assert read(given) == [[first, last, DONE]]
    assert read([[], [document], [document]]) == [[], [document]], "what follows the end is nobody's"
    assert read([[first], [last]]) == [[first], [last], [DONE]], "a finish reason is an end"


@pytest.mark.parametrize("given", [[], [[]], [[chunk("a")]]])
def test_a_stream_that_ends_without_a_word_of_it_broke_off(given: list[Any]) -> None:
    with pytest.raises(UpstreamProtocolError) as broken:
        read(given)
    assert broken.value.code == "upstream_stream_cut_short"


@pytest.mark.parametrize("given", [["odd"], [5], [[None]], [[Document.of({})]], [[Document.of(None)]]])  # type: ignore[arg-type]
def test_batches_of_something_else_are_the_fault_of_the_class(given: list[Any]) -> None:
    with pytest.raises(PluginFailed):
        read(given)


def test_filters_give_events() -> None:
    class Step:
        def feed(self, batch: Batch) -> Any:
            return "odd" if not batch else (event for event in batch)

        def finish(self) -> Any:
            return ["odd"]

    one = PluginUpstream("mine", PluginSpec("own_of_a_test:Given", {"filters": [Step()]}))
    (step,) = one.filters(call("m"))
    assert step.feed([DONE]) == [DONE]
    with pytest.raises(PluginFailed):
        step.feed([])
    with pytest.raises(PluginFailed):
        step.finish()


@pytest.mark.parametrize(
    ("use", "path", "options", "mistake"),
    [
        ("upstream", "none_such_module:X", {}, "none_such_module can't be imported: ModuleNotFoundError"),
        ("upstream", "broken_of_a_test:X", {}, "broken_of_a_test can't be imported: ModuleNotFoundError"),
        ("upstream", "own_of_a_test:Nobody", {}, "the module own_of_a_test has no class Nobody"),
        ("upstream", "own_of_a_test:ASKED", {}, "has no class ASKED"),
        (
            "upstream",
            "own_of_a_test:Caller",
            {},
            "own_of_a_test:Caller lacks completion_request, read_completion, read_error",
        ),
        ("auth", "own_of_a_test:Caller", {}, "lacks __call__"),
        ("listener", "own_of_a_test:Picky", {"size": 9}, "lacks __call__"),
        ("upstream", "own_of_a_test:Least", {"size": 9}, "refuses its options: TypeError"),
    ],
)
def test_what_is_wrong_with_a_class_is_told(use: str, path: str, options: dict[str, int], mistake: str) -> None:
    (told,) = find_mistakes([Plugin(use, "here", PluginSpec(path, options))])
    assert told.startswith("here: ")
    assert mistake in told


def test_a_class_says_itself_what_is_wrong_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("argoproxy.plugins.loader").NEEDS, "any", ())
    with pytest.raises(ConfigError, match="refuses its options: size is too large"):
        instantiate(Plugin("any", "here", PluginSpec("own_of_a_test:Picky", {"size": 9})))
    with pytest.raises(ConfigError, match="refuses its options: SystemExit: 3"):
        instantiate(Plugin("any", "here", PluginSpec("own_of_a_test:Picky", {"size": 3})))
    with pytest.raises(ConfigError, match="refuses its options: KeyError: 'size'"):
        instantiate(Plugin("any", "here", PluginSpec("own_of_a_test:Picky", {"size": 1})))


LIVELY = """
import atexit, os, threading, time

atexit.register(print, "bye")


class Lively:
    def __init__(self, how):
        work = {"thread": threading.Thread(target=time.sleep, args=(60,)).start, "exit": lambda: os._exit(0)}
        work.get(how, lambda: time.sleep(600))()

    def __call__(self, outcome):
        pass
"""


@pytest.mark.parametrize(
    ("how", "mistake"), [("thread", ""), ("exit", "ends the process"), ("sleep", "not made within")]
)
def test_classes_are_checked_in_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, mistake: str
) -> None:
    (tmp_path / "lively_of_a_test.py").write_text(LIVELY)
    if how == "sleep":
        monkeypatch.setattr("argoproxy.plugins.loader.CHECK_S", 3.0)
    own = PluginSpec("lively_of_a_test:Lively", {"how": how})
    config = replace(load({"DEMO": "true"}, tmp_path), listeners=(own,))
    if not mistake:
        check_plugins(config)
        return
    with pytest.raises(ConfigError, match=mistake):
        check_plugins(config)


def test_folders_are_looked_in_once(tmp_path: Path) -> None:
    add_plugin_folders([str(tmp_path / "a"), str(tmp_path / "b")])
    add_plugin_folders([str(tmp_path / "a")])
    assert sys.path[:2] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert sys.path.count(str(tmp_path / "a")) == 1
