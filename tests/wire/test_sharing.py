"""Keys, allowed models, and settings that change while it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import openai
import pytest
import requests

from argoproxy.config.config import OPEN_ROUTES
from argoproxy.protocol.access.allow_list import JSON_LIMIT
from tests.support import evasions
from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event, reply

KEYS = "ann=k-ann-canary,k-bob-canary"
ANN = {"Authorization": "Bearer k-ann-canary"}


@pytest.fixture
def shared(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET=KEYS)


def post(proxy: Proxy, path: str, body: Any, **headers: str) -> Answer:
    return ask(proxy.port, "POST", path, json.dumps(body).encode(), **headers)


SPELLINGS = """
/v1/models /models /v1/models/ /v1/models/x /v1/chat/completions /chat/completions /v1/completions /v1/embeddings
/v1/chat /v1/status /v1/files /v1 /v1/ // /./ /../ /health/../v1/models /health%2F..%2Fv1/models /healthx /HEALTH
/Health /health;x /%68ealth/../x /metrics /metrics/ /v1/health /v1//models /x?/health /index.html /favicon.ico
http://door/v1/models http://door/health/../v1/models
""".split()
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PURGE"]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_served_without_a_key(shared: Proxy, upstream: Upstream, method: str) -> None:
    seen = upstream.count("")
    for target in SPELLINGS:
        answer = ask(shared.port, method, target, b"{}" if method in ("POST", "PUT", "PATCH") else None)
        path = unquote(target.removeprefix("http://door"))
        if path.startswith("/health/") or (path == "//" and method in ("GET", "HEAD")):
            assert answer.status in (200, 404, 405), "ours, and tells nothing"
            continue
        assert answer.status == 401, target
        assert answer.header("WWW-Authenticate") == "Bearer"
        assert method == "HEAD" or answer.error["type"] == "authentication_error"
    assert upstream.count("") == seen


def test_the_apps_own_map_holds_nothing_else_that_is_open(shared: Proxy) -> None:
    code = "from argoproxy.wsgi import app; print('\\n'.join(sorted({rule.rule for rule in app.url_map.iter_rules()})))"
    environ = {**clean_environment(), "DEMO": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    ).stdout
    rules = [re.sub(r"<path:\w+>", "x", rule) for rule in shown.split()]
    is_open = [rule for rule in rules if ask(shared.port, "GET", rule).status != 401]
    assert sorted(is_open) == sorted(route.replace("{rest}", "x") for route in OPEN_ROUTES)


@pytest.mark.parametrize("target", ["/", "/health", "/health/live", "/health/ready"])
def test_what_is_open(shared: Proxy, target: str) -> None:
    answer = ask(shared.port, "GET", target)
    assert answer.status == 200
    assert ask(shared.port, "HEAD", target).status == 200
    assert ask(shared.port, "POST", "/").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic k-ann-canary"},
        {"Authorization": "Bearer k-ann-canar\u00fc"},
        {"Authorization": "Bearer " + "x" * 16_000},
        {"X-API-Key": ""},
        {"Cookie": "k-ann-canary"},
    ],
    ids=["wrong", "scheme", "not ascii", "oversized", "empty", "elsewhere"],
)
def test_a_bad_key_is_401(shared: Proxy, headers: dict[str, str]) -> None:
    answer = chat(shared.port, headers=headers)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_a_repeated_key_is_401(shared: Proxy) -> None:
    with Client(shared.port) as client:
        head = "GET /v1/models HTTP/1.1\r\nHost: x\r\n" + "Authorization: Bearer k-ann-canary\r\n" * 2
        client.sock.sendall(f"{head}\r\n".encode())
        assert client.answer().status == 401


def test_a_key_opens_the_door_and_goes_no_further(shared: Proxy, upstream: Upstream) -> None:
    for headers in (ANN, {"X-API-Key": "k-bob-canary", "Authorization": "Bearer theirs"}):
        assert chat(shared.port, headers=headers).status == 200
        sent = {name.lower(): value for name, value in upstream.last("")["headers"]}
        assert "canary" not in json.dumps(sent)
        assert sent.get("authorization") == ("Bearer theirs" if "X-API-Key" in headers else None)
        assert ask(shared.port, "GET", "/v1/anything", None, **headers).status == 200
        assert "canary" not in json.dumps(upstream.last("")["headers"])


def test_metrics_want_a_key_unless_they_are_open(shared: Proxy, serve: Serve, upstream: Upstream) -> None:
    assert ask(shared.port, "GET", "/metrics").status == 401
    assert chat(shared.port, headers=ANN).status == 200
    told = ask(shared.port, "GET", "/metrics", None, **ANN)
    assert (told.status, b'key="ann"' in told.body) == (200, True)
    opened = serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET=KEYS, METRICS_OPEN="true")
    assert ask(opened.port, "GET", "/metrics").status == 200
    assert ask(opened.port, "GET", "/v1/models").status == 401


@pytest.mark.parametrize("key", ["", "k-ann-canary"])
def test_the_curl_command_of_the_adapters_page(
    shared: Proxy, serve: Serve, upstream: Upstream, tmp_path: Path, key: str
) -> None:
    proxy = shared if key else serve(OPENAI_BASE_URL=f"{upstream.url}/v1", OPENAI_API_KEY="sk-upstream")
    body = '{"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello, how are you?"}]}'
    command = ["curl", "-sS", "-X", "POST", f"{proxy.url}/v1/chat/completions", "-H", "Content-Type: application/json"]
    bearer = ["-H", f"Authorization: Bearer {key}"] if key else []
    ended = subprocess.run([*command, *bearer, "-d", body], cwd=tmp_path, capture_output=True, check=True, timeout=20)
    assert json.loads(ended.stdout)["choices"][0]["message"]["content"] == "Hello there!"


def test_the_official_client(shared: Proxy) -> None:
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="k-bob-canary", max_retries=0) as client:
        made = client.chat.completions.create(model="m1", messages=[{"role": "user", "content": "Hi"}])
        assert made.choices[0].message.content == "Hello there!"
        parts = client.completions.create(model="m1", prompt="Hi", stream=True)
        assert "".join(part.choices[0].text for part in parts) == "Hello there!"
    with (
        openai.OpenAI(base_url=f"{shared.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="valid API key"),
    ):
        client.models.list()


def test_a_key_is_made_where_none_is_set(upstream: Upstream, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, {"TARGET_BASE_URL": upstream.url, "ENABLE_AUTH": "true", "WORKERS": "3"})
    try:
        (key,) = GENERATED_KEY.findall(proxy.log())
        eventually(lambda: len(proxy.workers()) == 3)
        proxy.replace_worker()
        for _ in range(20):
            assert ask(proxy.port, "GET", "/v1/models", Authorization=f"Bearer {key}").status == 200
        assert ask(proxy.port, "GET", "/v1/models").status == 401
        assert proxy.log().count(key) == 1
    finally:
        proxy.stop()


def test_the_name_of_a_key_is_the_user(serve: Serve, upstream: Upstream) -> None:
    named = serve(
        ARGO_BASE_URL=f"{upstream.url}/argoapi",
        ENABLE_AUTH="1",
        API_KEY_SECRET=KEYS,
        USERNAME_PASSTHROUGH="1",
    )
    body = {"model": "gpt4o", "messages": [{"role": "user", "content": "Hi"}]}
    for key, user in (("k-ann-canary", "ann"), ("k-bob-canary", "key-2")):
        assert post(named, "/v1/chat/completions", body, Authorization=f"Bearer {key}").status == 200
        assert json.loads(upstream.last("")["body"])["user"] == user


ALLOWED = "m1,mine,qwen*"
RULES = "model=mine,upstream_model_name=m2;model=hidden,upstream_model_name=m1"


@pytest.fixture
def choosy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS=ALLOWED, LLM_PARAMS=RULES)


FORM = "multipart/form-data; boundary=XX"


def form(model: str) -> bytes:
    return f'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--XX--\r\n'.encode()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/x/y"])
@pytest.mark.parametrize(
    ("model", "status"), [("m1", 200), ("mine", 200), ("qwen3", 200), ("m2", 403), ("hidden", 403), ("M1", 403)]
)
def test_only_allowed_models_may_be_asked_for(
    choosy: Proxy, upstream: Upstream, path: str, model: str, status: int
) -> None:
    seen = upstream.count("")
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"}
    answer = post(choosy, path, body)
    assert answer.status == status
    assert upstream.count("") == seen + (status == 200)
    if status == 403:
        assert (answer.error["code"], model in answer.error["message"]) == ("model_not_allowed", True)


def test_forms_and_bodies_that_tell_no_model(choosy: Proxy, upstream: Upstream) -> None:
    transcribe = "/v1/audio/transcriptions"
    assert ask(choosy.port, "POST", transcribe, form("m1"), Content_Type=FORM).status == 200
    assert upstream.last("")["body"].encode() == form("m1")
    for body, kind in (
        (form("m2"), FORM),
        (b"model=m1", "text/plain"),
        (b"", "text/plain"),
        (b"{}", "application/json"),
    ):
        assert ask(choosy.port, "POST", transcribe, body, Content_Type=kind).status == 403
    assert ask(choosy.port, "POST", "/v1/files", b"any", Content_Type="text/plain").status == 200
    assert ask(choosy.port, "GET", "/v1/files/f1/content").status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_request_of_any_method_must_tell_its_model(choosy: Proxy, method: str) -> None:
    assert ask(choosy.port, method, "/v1/anything").status == 403
    assert ask(choosy.port, method, "/v1/chat/completions", b'{"model": "m2"}').status == 403
    answer = ask(choosy.port, method, "/v1/chat/completions", b'{"model": "m1"}')
    assert (answer.status, answer.json["method"]) == (200, method)


@pytest.fixture
def careful(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS=evasions.ALLOWED)


@pytest.mark.parametrize(("content_type", "text"), evasions.FORMS.values(), ids=evasions.FORMS)
def test_no_form_goes_around_the_list(careful: Proxy, upstream: Upstream, content_type: str, text: str) -> None:
    seen = upstream.count("")
    answer = ask(careful.port, "POST", "/v1/audio/transcriptions", text.encode("latin-1"), Content_Type=content_type)
    assert answer.status in (400, 403)
    assert upstream.count("") == seen


@pytest.mark.parametrize("name", ["speech.wav", "caf\u00e9 \u00e0 l'eau; name=x.wav"])
def test_forms_of_ordinary_clients_are_forwarded(careful: Proxy, upstream: Upstream, tmp_path: Path, name: str) -> None:
    url, data = f"{careful.url}/v1/audio/transcriptions", bytes(range(256)) * 40
    (tmp_path / name).write_bytes(data)
    field, file = (
        f"model={evasions.ALLOWED}",
        f"file=@{name};type=audio/wav" if ";" not in name else f'file=@"{name}"',
    )
    curl = subprocess.run(
        ["curl", "-sS", "-F", field, "-F", file, url], cwd=tmp_path, capture_output=True, check=True, timeout=20
    )
    forms = [json.loads(curl.stdout)["body"]]
    assert requests.post(url, data={"model": "allowed"}, files={"file": (name, data)}, timeout=20).status_code == 200
    forms.append(upstream.last("")["body"])
    with openai.OpenAI(base_url=f"{careful.url}/v1", api_key="any", max_retries=0) as client:
        client.audio.transcriptions.create(model=evasions.ALLOWED, file=(name, data, "audio/wav"))
        forms.append(upstream.last("")["body"])
        with pytest.raises(openai.PermissionDeniedError):
            client.audio.transcriptions.create(model=evasions.FORBIDDEN, file=(name, data, "audio/wav"))
    assert all(data.decode("latin-1") in form for form in forms)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/responses"])
@pytest.mark.parametrize("text", evasions.JSON.values(), ids=evasions.JSON)
def test_no_json_goes_around_the_list(careful: Proxy, upstream: Upstream, path: str, text: str) -> None:
    script = upstream.script(reply(body=b'{"choices": [], "data": []}'))
    body = text.replace("{", '{"messages": [], "input": "x", ', 1).encode("utf-8", "surrogatepass")
    assert ask(careful.port, "POST", path, body, X_Script=script).status in (200, 400, 403)
    for seen in upstream.seen(script):
        pairs = json.loads(seen["body"].encode("latin-1"), object_pairs_hook=list)
        assert [value for key, value in pairs if key.lower() == "model"] == [evasions.ALLOWED]


@pytest.mark.parametrize("target", evasions.TARGETS)
def test_no_target_goes_around_the_list(careful: Proxy, upstream: Upstream, target: str) -> None:
    seen = upstream.count("")
    answer = ask(careful.port, "POST", target, b'{"model": "allowed"}', Content_Type="application/json")
    assert answer.status in (403, 404)
    assert upstream.count("") == seen


def test_a_query_that_names_a_model_is_refused_on_our_routes_too(careful: Proxy) -> None:
    body = {"model": "allowed", "messages": [{"role": "user", "content": "x"}]}
    assert post(careful, "/v1/chat/completions?model=forbidden", body).status == 403
    assert post(careful, "/v1/chat/completions?api-version=1", body).status == 200


def test_unknown_routes_can_be_allowed(serve: Serve, upstream: Upstream) -> None:
    lenient = serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS="m1", ALLOW_UNKNOWN_ROUTES="true")
    assert ask(lenient.port, "GET", "/v1/anything").status == 200
    assert post(lenient, "/openai/deployments/m2/chat", {"model": "m1"}).status == 200
    assert post(lenient, "/v1/moderations", {"model": "m2"}).status == 403
    assert post(lenient, "/v1/chat/completions", {"model": "m1", "Model": "m2", "messages": []}).status == 403
    long = b'{"x": "' + b"x" * JSON_LIMIT + b'"}'
    assert ask(lenient.port, "POST", "/v1/moderations", long, Content_Type="application/json").status == 200
    strict = serve(TARGET_BASE_URL=upstream.url, ALLOWED_MODELS="m1")
    assert ask(strict.port, "POST", "/v1/moderations", long, Content_Type="application/json").status == 413


def test_only_allowed_models_are_listed(choosy: Proxy) -> None:
    assert [model["id"] for model in ask(choosy.port, "GET", "/v1/models").json["data"]] == ["m1", "mine"]
    assert ask(choosy.port, "GET", "/v1/models/m2").status == 403
    assert ask(choosy.port, "GET", "/v1/models/m1").status == 200


def test_raw_chats_are_chosen_too(serve: Serve, upstream: Upstream) -> None:
    argo = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me", ALLOWED_MODELS="argo:gpt-4")
    assert post(argo, "/v1/chat", {"model": "gpt4o", "prompt": "x"}).status == 403
    assert post(argo, "/v1/chat", {"model": "argo:gpt-4", "prompt": "x"}).status == 200
    assert ask(argo.port, "GET", "/v1/status").status == 200, "takes no model"


@pytest.fixture
def changing(upstream: Upstream, tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    file = tmp_path / "config.yaml"
    file.write_text(f"target_base_url: {upstream.url}\nnum_workers: 2\n")
    proxy = Proxy(tmp_path, {})
    eventually(lambda: len(proxy.workers()) == 2)
    yield proxy, file
    proxy.stop()


def taken_up(proxy: Proxy, file: Path, text: str, code: str = "settings_reloaded") -> None:
    count = len(proxy.coded(code))
    file.write_text(text)
    proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(proxy.coded(code)) == count + 1)


#: A key that the proxy generated, as the start shows it.
GENERATED_KEY = re.compile(r"\bsk-[\w-]{32}$", re.MULTILINE)
SLOW: list[list[Any]] = [
    ["await"],
    ["send", CHUNKED],
    ["repeat", 30, [["send", chunked(event("a"))], ["sleep", 0.05]]],
    ["send", bodies([event("", "stop"), DONE])],
]


def test_new_settings_touch_no_request_that_runs(changing: tuple[Proxy, Path], upstream: Upstream) -> None:
    proxy, file = changing
    script, answers = upstream.script(*SLOW), list[Answer]()
    threads = [
        threading.Thread(
            target=lambda: answers.append(chat(proxy.port, stream=True, headers={"X-Script": script})), daemon=True
        )
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: upstream.count(script) == 50)
    pids = proxy.workers()
    taken_up(proxy, file, f"target_base_url: {upstream.url}\nnum_workers: 2\nallowed_models: other\n")
    for _ in range(10):
        assert chat(proxy.port).status == 403
    upstream.open(script, 50)
    for thread in threads:
        thread.join()
    assert [answer.text for answer in answers] == ["a" * 30] * 50
    assert proxy.workers() == pids


def test_broken_settings_change_nothing(changing: tuple[Proxy, Path], upstream: Upstream) -> None:
    proxy, file = changing
    taken_up(proxy, file, "port: broken\nallowed_models: other\n", "reload_failed")
    assert "port 'broken' " in proxy.log()
    assert ask(proxy.port, "GET", "/health/ready").status == 200
    assert chat(proxy.port).status == 200
    proxy.replace_worker()
    for _ in range(10):
        assert chat(proxy.port).status == 200, "a replaced worker takes what was published"
    taken_up(proxy, file, f"target_base_url: {upstream.url}\nport: 1\nnum_workers: 9\n")
    (line,) = eventually(lambda: proxy.coded("restart_needed"))
    assert "num_workers" in line["settings"]


def test_a_key_is_made_when_keys_come_to_be_asked_for(changing: tuple[Proxy, Path], upstream: Upstream) -> None:
    proxy, file = changing
    text = f"target_base_url: {upstream.url}\nnum_workers: 2\n"
    assert not GENERATED_KEY.search(proxy.log())
    taken_up(proxy, file, f"{text}enable_auth: true\n")
    eventually(lambda: GENERATED_KEY.search(proxy.log()))
    (key,) = GENERATED_KEY.findall(proxy.log())
    for _ in range(10):
        assert chat(proxy.port).status == 401
        assert chat(proxy.port, headers={"Authorization": f"Bearer {key}"}).status == 200
    taken_up(proxy, file, text)
    for _ in range(10):
        assert chat(proxy.port).status == 200


def test_many_changes_leave_nothing_behind(changing: tuple[Proxy, Path], upstream: Upstream) -> None:
    proxy, file = changing
    text = f"target_base_url: {upstream.url}\nnum_workers: 2\ntimeout: "
    counts = []
    for number in range(30):
        taken_up(proxy, file, f"{text}{100 + number}\n")
        for _ in range(8):
            assert chat(proxy.port).status == 200
        counts.append((proxy.descriptors(), threads_of(proxy)))
    begun, ended = counts[:10], counts[-5:]
    # What each change left behind would be 20 by now; a few threads more are started when a worker has much to do.
    for what in (0, 1):
        assert min(count[what] for count in ended) <= max(count[what] for count in begun) + 5


def threads_of(proxy: Proxy) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in proxy.workers())


def test_reload_on_the_command_line(changing: tuple[Proxy, Path], upstream: Upstream) -> None:
    proxy, file = changing
    file.write_text(f"target_base_url: {upstream.url}\nport: {proxy.port}\nallowed_models: other\n")
    command = [sys.executable, str(ROOT / "cot_proxy.py"), "reload", str(file)]
    shown = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    assert f"process {proxy.process.pid}" in shown.stdout
    eventually(lambda: chat(proxy.port).status == 403)
    file.write_text(f"target_base_url: {upstream.url}\nport: {proxy.port}\nnonsense: true\n")
    broken = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (broken.returncode, "nonsense" in broken.stderr, "can't start" in broken.stderr) == (2, True, False)
    assert chat(proxy.port).status == 403
    file.write_text("port: 9\ntarget_base_url: http://up\n")
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, "no proxy of this user is running on port 9" in ended.stderr) == (2, True)


def test_it_leaves_no_folder_behind(upstream: Upstream, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, {"TARGET_BASE_URL": upstream.url})
    made = shared_folder_of(proxy)
    assert (made / "settings.json").stat().st_mode & 0o077 == 0
    proxy.stop()
    assert not made.exists()


def shared_folder_of(proxy: Proxy) -> Path:
    """Give the folder that the processes of a proxy share; others may run beside it."""

    def find() -> Path | None:
        for file in (file for root in ("/dev/shm", "/tmp") for file in Path(root).glob("argoproxy-*/serves")):
            with suppress(FileNotFoundError):
                if file.read_text().split()[1:] == [str(proxy.process.pid)]:
                    return file.parent
        return None

    folder: Path = eventually(find)
    return folder


def test_a_secret_is_found_nowhere(upstream: Upstream, tmp_path: Path) -> None:
    """A canary in every input: keys, headers, the upstream's userinfo and query, the query of a request."""
    base = upstream.url.replace("://", "://me:canary-word@") + "/v1?key=canary-query"
    environ = {
        "TARGET_BASE_URL": base,
        "ENABLE_AUTH": "true",
        "API_KEY_SECRET": "canary-key",
        "OPENAI_API_KEY": "canary-other",
        "DEBUG": "true",
        "WORKERS": "1",
    }
    proxy, said = Proxy(tmp_path, environ), b""
    broken = upstream.script(["rst"])
    paths = ("/v1/models?x=canary-asked", "/v1/nope?x=canary-asked", "/%2e%2e/?canary-asked", "/health", "/")
    try:
        for key in ("canary-key", "canary-wrong"):
            headers = {"Authorization": f"Bearer {key}", "X-Other": "canary-header"}
            for path in paths:
                said += told(ask(proxy.port, "GET", path, None, X_Script=broken if "nope" in path else "", **headers))
            said += told(ask(proxy.port, "POST", "/v1/chat/completions?x=canary-asked", b"{", **headers))
            said += told(chat(proxy.port, headers={**headers, "X-Script": broken}))
            said += told(chat(proxy.port, stream=True, headers=headers))
            said += told(ask(proxy.port, "GET", "/metrics", None, **headers))
    finally:
        proxy.stop()
    assert b"canary" not in said
    assert "canary" not in proxy.log()


def told(answer: Answer) -> bytes:
    return repr(answer.headers).encode() + answer.body
