"""No secret shows itself anywhere: every kind of secret in every place, on real Gunicorn.

One proxy holds a secret of each kind. Its upstreams echo all of them, in every spelling that servers use, in whole
answers, streams, errors and headers; its clients put them wherever a clumsy client may. Afterwards nothing that a
client or an operator can read may hold any of them.
"""

from __future__ import annotations

import gzip
import html
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.processes import ROOT, Proxy, Upstream, eventually, shell
from tests.support.scripts import completion, event, reply, stream

#: What every secret holds, whatever its spelling.
MARK = "canary"
#: Characters that JSON encoders, URLs and HTML spell in several ways.
ODD = "canary/{}+<'&>=="


def secret(kind: str) -> str:
    return ODD.format(kind)


def escaped(kind: str) -> str:
    return quote(secret(kind), safe="")


OWN_KEY, CLIENT_KEY = secret("own-key"), "canary-client-0123456789"
HEADERS = {name: secret(name.lower()) for name in ("X-Passwd", "X-Signature", "X-Auth-Id", "App-Key", "X-Credential")}
HEADERS["Cookie"] = f"session={secret('cookie')}; theme=dark"
USERINFO = f"me:{secret('password')}"
BASIC = f"me:{secret('basic')}"
PROXY_USERINFO = f"me:{secret('proxy-password')}"

PLUGIN = """
from argoproxy.api import BaseUrl, OpenAIUpstream

class Upstream(OpenAIUpstream):
    def __init__(self, base_url, api_token, nested):
        super().__init__(BaseUrl.parse(base_url))

class Listener:
    def __init__(self, webhook_secret):
        pass

    def __call__(self, outcome):
        pass
"""

#: How a text stands in JSON, as several languages write it; in a header, a plain text or HTML; in a URL.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "Go": lambda text: "".join(f"\\u{ord(x):04x}" if x in "<>&" else x for x in json.dumps(text)[1:-1]),
    ".NET": lambda text: "".join(f"\\u{ord(x):04X}" if x in "\"&'+<>`" else x for x in text),
    "URL": lambda text: quote(text, safe=""),
    "path": quote,
    "HTML": html.escape,
}


def upstreams(url: str) -> dict[str, dict[str, object]]:
    """Describe an upstream for each kind of secret."""
    host = url.removeprefix("http://")
    return {
        "plain": {"base_url": url},
        "key": {"base_url": url, "api_key": secret("api-key")},
        "native": {"base_url": url, "api_key": secret("native-key"), "native": True},
        "header": {"base_url": url, "headers": HEADERS},
        "basic": {
            "base_url": url,
            "headers": {"Authorization": f"Basic {b64encode(BASIC.encode()).decode()}"},
        },
        "password": {"base_url": f"http://me:{escaped('password')}@{host}"},
        "username": {"base_url": f"http://{escaped('username')}@{host}"},
        "query": {"base_url": f"{url}/v1?key={escaped('query-key')}&sig={escaped('query-sig')}&v=2"},
        "ruled": {"base_url": url},
        "proxied": {"base_url": url, "proxy": f"http://me:{escaped('proxy-password')}@{host}"},
        "dashscope": {"kind": "dashscope", "base_url": f"{url}/api/v1", "api_key": secret("dashscope-key")},
        "anthropic": {"kind": "anthropic", "base_url": url, "api_key": secret("anthropic-key")},
        "plugin": {
            "kind": "own_plugin:Upstream",
            "base_url": url,
            "options": {"api_token": secret("option"), "nested": {"passwords": [secret("nested")]}},
        },
    }


#: What each upstream is sent of ours: the secrets that its echo must not show.
SENT: dict[str, list[str]] = {
    "plain": [],
    "key": [secret("api-key")],
    "native": [secret("native-key")],
    "header": [*(value for name, value in HEADERS.items() if name != "Cookie"), secret("cookie")],
    "basic": [secret("basic"), b64encode(BASIC.encode()).decode()],
    "password": [secret("password"), b64encode(USERINFO.encode()).decode()],
    "username": [secret("username"), b64encode(f"{secret('username')}:".encode()).decode()],
    "query": [secret("query-key"), secret("query-sig")],
    "ruled": [secret("rule-param")],
    "proxied": [secret("proxy-password"), b64encode(PROXY_USERINFO.encode()).decode()],
    "dashscope": [secret("dashscope-key")],
    "anthropic": [secret("anthropic-key")],
    "plugin": [secret("option"), secret("nested")],
}
#: Secrets, and what they look like where Basic encodes them.
NEEDLES = [MARK, *(text for texts in SENT.values() for text in texts if MARK not in text)]


@dataclass
class Stand:
    """The proxy with its config file, its journal, and every answer that clients got."""

    proxy: Proxy
    upstream: Upstream
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def wait(self, answer: Answer) -> None:
        """Wait until a request is written down."""
        journal = self.folder / "logs" / "client_interaction.jsonl"
        eventually(lambda: answer.id in self.proxy.log() and answer.id in journal.read_text())


@pytest.fixture(scope="module")
def stand(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "own_plugin.py").write_text(PLUGIN)
    described = upstreams(upstream.url)
    settings = {
        "debug": True,
        "metrics_open": True,
        "enable_auth": True,
        "api_key_secret": {"ann": OWN_KEY},
        "output_path": str(folder / "logs"),
        "upstreams": described,
        "listeners": [{"class": "own_plugin:Listener", "options": {"webhook_secret": secret("listener")}}],
        "models": {
            **{name: {"upstream": name} for name in described},
            "ruled": {"upstream": "ruled", "params": {"api_key": secret("rule-param"), "max_tokens": 5}},
            "away": {"upstream": ["gone"]},
        },
    }
    settings["upstreams"]["gone"] = {  # type: ignore[index]
        "base_url": f"http://me:{escaped('gone')}@127.0.0.1:1/v1?key={escaped('gone-key')}"
    }
    (folder / "config.yaml").write_text(json.dumps(settings))
    proxy = Proxy(
        folder, {"WORKERS": "1", "SKIP_URL_VALIDATION": "false", "LLM_PARAMS": f"model=x,api_key={CLIENT_KEY}"}
    )
    yield Stand(proxy, upstream, folder)
    proxy.stop()


def find_leaks(text: str) -> list[str]:
    """Return the lines in which a secret stands, shortened around it."""
    return [
        line[max(0, line.find(needle) - 60) : line.find(needle) + 60]
        for line in text.splitlines()
        for needle in NEEDLES
        if needle in line
    ]


def everything(answer: Answer) -> str:
    return "\n".join([*(f"{name}: {value}" for name, value in answer.headers), answer.body.decode("utf-8", "replace")])


def send(stand: Stand, name: str, script: str, *, wants_stream: bool = False) -> Answer:
    headers = {"Authorization": f"Bearer {OWN_KEY}", "X-Script": script}
    return chat(stand.proxy.port, model=name, stream=wants_stream, headers=headers)


def echoes(texts: list[str]) -> Iterator[tuple[str, bool, list[list[object]]]]:
    """Yield replies that hold secrets: a name, whether a stream is asked for, and the steps."""
    json_type = {"Content_Type": "application/json"}
    for spelling, spell in SPELLINGS.items():
        words = " ".join(map(spell, texts))
        whole = completion("WORDS").replace(b"WORDS", words.encode("latin-1"))
        yield f"whole, {spelling}", False, [reply(body=whole, **json_type)]
        yield f"stream, {spelling}", True, stream(event("WORDS").replace("WORDS", words), event("", "stop"))
        error = b'{"error": {"message": "%b", "type": "x", "code": "%b"}}' % (words.encode(), words.encode())
        yield f"error, {spelling}", False, [reply("401 No", error, **json_type)]
        yield f"plain error, {spelling}", True, [reply("500 Oops", words.encode(), Content_Type="text/plain")]
    plain = " ".join(texts)
    yield (
        "HTML",
        False,
        [reply("502 Bad", f"<html><title>{plain}</title>{plain}</html>".encode(), Content_Type="text/html")],
    )
    yield (
        "headers",
        False,
        [reply(body=completion("Hi"), X_Echo=plain, X_Request_Id=texts[0], Location=f"/x?{plain}", **json_type)],
    )
    packed = gzip.compress(completion(plain))
    yield "packed", False, [reply(body=packed, Content_Encoding="gzip", **json_type)]
    yield "broken off", True, [*stream(event(plain))[:-1], ["cut"]]


@pytest.mark.parametrize("name", [name for name, texts in SENT.items() if texts])
def test_no_answer_shows_what_its_upstream_was_sent(stand: Stand, name: str) -> None:
    leaks: dict[str, list[str]] = {}
    for kind, wants_stream, steps in echoes(SENT[name]):
        script = stand.upstream.script(*steps)
        answer = send(stand, name, script, wants_stream=wants_stream)
        assert stand.upstream.seen(script), f"{name} is asked"
        if found := find_leaks(everything(answer)):
            leaks[kind] = found
        stand.wait(answer)
    assert leaks == {}


@pytest.mark.parametrize("key", [OWN_KEY, CLIENT_KEY, secret("api-key"), secret("password"), secret("query-sig")])
def test_nothing_that_is_written_down_shows_what_clients_send(stand: Stand, key: str) -> None:
    port = stand.proxy.port
    headers: Any = {
        "Authorization": f"Bearer {OWN_KEY}",
        "X_Goog_Api_Key": CLIENT_KEY,
        "Cookie": f"a={CLIENT_KEY}; b=1",
    }
    failing = stand.upstream.script(
        reply("500 Oops", json.dumps({"error": {"message": f"{key} {CLIENT_KEY}"}}).encode())
    )
    path = quote(key, safe="")
    answers = [
        ask(port, "GET", f"/v1/models/{path}", **headers),
        ask(port, "GET", f"/{path}/x?key={path}", **headers),
        ask(port, "GET", f"/v1/x?api_key={CLIENT_KEY}", **{**headers, "X_Request_Id": f"id-{key}"}),
        ask(port, "POST", "/v1/chat/completions", b"{" + key.encode(), **headers),
        ask(port, "POST", "/v1/x", json.dumps({"model": key}).encode(), X_Script=failing, **headers),
        ask(port, "GET", "/v1/x", Authorization=f"Bearer {key}"),
        ask(port, "GET", "/v1/x", Authorization=f"Bearer {OWN_KEY}", X_Auth_Token=CLIENT_KEY, X_Script=failing),
        chat(port, model=key, headers=headers),
        chat(port, model="key", messages=[{"role": "user", "content": key}], headers=headers),
        chat(port, model="key", user=key, api_key=CLIENT_KEY, stream=True, headers={**headers, "X-Script": failing}),
        chat(port, model="plain", headers={**headers, "X-Script": failing}),
        chat(port, model="away", stream=True, headers=headers),
    ]
    for answer in answers:
        stand.wait(answer)


def test_nothing_that_operators_read_shows_a_secret(stand: Stand) -> None:
    """Runs behind the tests above: the log and the journal hold all that they have sent."""
    port = stand.proxy.port
    texts = {
        f"{method} {path} {accept}": everything(ask(port, method, path, Accept=accept))
        for method in ("GET", "HEAD")
        for path in ("/", "/health", "/health/live", "/health/ready", "/metrics", "/health/x", "/nowhere")
        for accept in ("application/json", "text/html", "text/plain")
    }
    texts["log"] = stand.proxy.log()
    texts |= {file.name: file.read_text() for file in (stand.folder / "logs").iterdir()}
    commands = [
        "config show",
        "config validate",
        "--show",
        *(f"config show --model {name}" for name in (*SENT, "ruled", "x")),
    ]
    for command in commands:
        words = command.split(" ")
        line = " ".join(["python", str(ROOT / "cot_proxy.py"), *words[:2], str(stand.config), *words[2:]])
        done = shell(line, stand.folder, {"LLM_PARAMS": f"model=x,api_key={CLIENT_KEY}"})
        texts[command] = (done.stdout + done.stderr).decode()
    assert {place: found for place, text in texts.items() if (found := find_leaks(text))} == {}


@pytest.mark.parametrize("place", ["upstreams", "models", "unknown"])
def test_a_refused_start_shows_no_secret(stand: Stand, tmp_path: Path, place: str) -> None:
    settings = json.loads(stand.config.read_text())
    if place == "upstreams":
        for one in settings["upstreams"].values():
            one["timeout"] = "soon"
            one["base_url"] = one["base_url"].replace("http:", "ftp:")
            one.setdefault("headers", {})["App-Key"] = f"{MARK}\n"
            one["api_key"] = [MARK]
    elif place == "models":
        settings["models"]["ruled"]["params"] = {"api_key": {"nested": MARK}, "password": [MARK]}
        settings["models"]["ruled"]["mode"] = "no mode"
    else:
        settings |= {
            "app_key": MARK,
            "api_key_secret": {"a b": MARK},
            "target_base_url": f"http://me:{MARK}@:x/?key={MARK}",
        }
    (tmp_path / "own_plugin.py").write_text(PLUGIN)
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    done = shell(f"python {ROOT / 'cot_proxy.py'} config validate config.yaml", tmp_path, {})
    assert done.returncode == 2
    assert find_leaks((done.stdout + done.stderr).decode()) == []
