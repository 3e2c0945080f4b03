"""`doctor` in front of real servers: its first line names the cause."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from argoproxy.cli.doctor.examination import main
from tests.support.fixtures import Serve
from tests.support.model_server import ModelServer
from tests.support.nginx import prepare_nginx
from tests.support.processes import (
    ROOT,
    Upstream,
    clean_environment,
    eventually,
    free_port,
    is_listening,
    shell,
    spawn,
)

KEY = "sk-right-1234567890-zz"
PAUSE_S = 0.08
NGINX = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; {more} }} }}"


#: Holds streams back even if the server behind forbids it.
DEAF = "proxy_ignore_headers X-Accel-Buffering;"


class Doctor:
    """Runs the command in a folder, and keeps what it printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys
        self.status = 0
        self.text = ""

    def first(self, *arguments: str, **environ: str) -> str:
        """Return the first line."""
        self.run(*arguments, **environ)
        return self.text.partition("\n")[0]

    def report(self, *arguments: str, **environ: str) -> Any:
        """Return the report in JSON."""
        self.run("--json", *arguments, **environ)
        return json.loads(self.text)

    def check(self, code: str, *arguments: str, **environ: str) -> dict[str, Any]:
        """Return the finding of a code about an upstream or the proxy."""
        (found,) = [check for check in self.report(*arguments, **environ)["checks"] if check["code"] == code]
        return dict(found)

    def run(self, *arguments: str, **environ: str) -> None:
        settings = {"HOST": "127.0.0.1", "PORT": str(free_port()), **environ}
        self.status = main(arguments, settings, self._folder)
        self.text = self._capsys.readouterr().out


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


#: The first line where upstreams need nothing. A small machine may be warned of.
WELL = re.compile(r"(?:All is well|Chats work)[.:]")


def certify(folder: Path, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Any]:
    """Start nginx, as it is without settings for streams, in front of a server."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    processes = []

    def start(url: str, more: str = "") -> str:
        port = free_port()
        command = prepare_nginx(tmp_path, NGINX.format(port=port, more=more, url=url.replace("localhost", "127.0.0.1")))
        with (tmp_path / "nginx.log").open("wb") as log:
            processes.append(spawn(command, cwd=tmp_path, env=clean_environment(), stdout=log, stderr=log))
        eventually(lambda: is_listening(port))
        return f"http://localhost:{port}"

    yield start
    for process in processes:
        process.terminate()
        process.wait()


def test_a_server_without_faults(doctor: Doctor) -> None:
    with ModelServer(key=KEY) as server:
        assert WELL.match(doctor.first(TARGET_BASE_URL=server.url, TARGET_API_KEY=KEY))
    assert doctor.status == 0
    assert KEY not in doctor.text
    assert "3 chat requests sent" in doctor.text


def test_no_server(doctor: Doctor) -> None:
    port = free_port()
    first = doctor.first(TARGET_BASE_URL=f"http://localhost:{port}/v1")
    assert first == f"1 problem: nothing listens at localhost:{port}: connection refused."
    assert "correct TARGET_BASE_URL (environment)" in doctor.text.splitlines()[1]
    assert doctor.status == 1


def test_a_name_that_is_unknown(doctor: Doctor) -> None:
    assert "the name no-such-host.invalid can't be resolved" in doctor.first(
        TARGET_BASE_URL="http://no-such-host.invalid"
    )


@pytest.mark.parametrize(
    ("base", "path", "right", "word"),
    [
        ("/openai/v2/v1", "/openai/v2", "/openai/v2/v1", "missing"),
        ("/v1", "/v1/v1", "/v1", "doubled"),
        ("/api/v1", "", "/api/v1", "not the base"),
        ("/v1", "/docs", "/v1", "not the base"),
    ],
)
def test_a_wrong_base_url(doctor: Doctor, base: str, path: str, right: str, word: str) -> None:
    with ModelServer(base=base) as server:
        first = doctor.first(TARGET_BASE_URL=server.url + path)
        assert word in first
        assert doctor.text.splitlines()[1] == f"  fix: TARGET_BASE_URL={server.url}{right}   (environment)"


def test_a_wrong_key(doctor: Doctor) -> None:
    with ModelServer(key=KEY) as server:
        first = doctor.first(TARGET_BASE_URL=server.url, TARGET_API_KEY="sk-wrong-1234567890-qq")
    assert "refuses the configured key (401; a key of 22 characters, it ends with qq)" in first
    assert "correct TARGET_API_KEY (environment)" in doctor.text.splitlines()[1]
    assert "sk-wrong" not in doctor.text


def test_no_key(doctor: Doctor) -> None:
    with ModelServer(key=KEY) as server:
        assert "wants an API key (401), and none is configured" in doctor.first(TARGET_BASE_URL=server.url)


def test_a_web_page(doctor: Doctor) -> None:
    with ModelServer(is_page=True) as server:
        assert "answers with a web page, not with an API's JSON" in doctor.first(TARGET_BASE_URL=server.url)


def test_a_self_signed_certificate(doctor: Doctor, tmp_path: Path) -> None:
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    with ModelServer((tmp_path / "cert.pem", tmp_path / "key.pem")) as server:
        first = doctor.first(TARGET_BASE_URL=server.url)
    assert first.startswith("1 problem: the certificate of localhost is self-signed")
    assert "REQUESTS_CA_BUNDLE" in doctor.text.splitlines()[1]


def test_a_certificate_of_an_authority_that_is_not_trusted(doctor: Doctor, tmp_path: Path) -> None:
    files = certify(tmp_path, trustme.CA().issue_cert("localhost"))
    with ModelServer(files) as server:
        assert "issued by an authority that is not trusted" in doctor.first(TARGET_BASE_URL=server.url)
    assert "REQUESTS_CA_BUNDLE" in doctor.text.splitlines()[1]


def test_a_certificate_that_is_trusted(doctor: Doctor, tmp_path: Path, ca: trustme.CA, ca_file: Path) -> None:
    with ModelServer(certify(tmp_path, ca.issue_cert("localhost"))) as server:
        first = doctor.first(TARGET_BASE_URL=server.url, REQUESTS_CA_BUNDLE=str(ca_file))
        assert WELL.match(first)


def test_a_certificate_for_another_name(doctor: Doctor, tmp_path: Path, ca: trustme.CA, ca_file: Path) -> None:
    with ModelServer(certify(tmp_path, ca.issue_cert("example.org"))) as server:
        first = doctor.first(TARGET_BASE_URL=server.url, REQUESTS_CA_BUNDLE=str(ca_file))
        assert "the certificate is for another name than localhost" in first


def test_an_expired_certificate(doctor: Doctor, tmp_path: Path, ca: trustme.CA, ca_file: Path) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
    with ModelServer(certify(tmp_path, ca.issue_cert("localhost", not_after=past))) as server:
        first = doctor.first(TARGET_BASE_URL=server.url, REQUESTS_CA_BUNDLE=str(ca_file))
    assert first == "1 problem: the certificate of localhost has expired."


def test_a_clock_that_makes_certificates_look_expired(
    doctor: Doctor, tmp_path: Path, ca: trustme.CA, ca_file: Path
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
    files = certify(tmp_path, ca.issue_cert("localhost", not_after=past))
    with ModelServer(files, ahead_s=-30 * 86400) as server:
        first = doctor.first(TARGET_BASE_URL=server.url, REQUESTS_CA_BUNDLE=str(ca_file))
    assert "has expired, and this machine's clock is 30 days ahead of the server's" in first
    assert "set this machine's clock" in doctor.text.splitlines()[1]


def test_a_clock_that_is_wrong(doctor: Doctor) -> None:
    with ModelServer(ahead_s=600) as server:
        assert "is 10 minutes behind the clock of openai" in doctor.check("clock", TARGET_BASE_URL=server.url)["text"]


def test_tls_where_none_is_spoken(doctor: Doctor) -> None:
    with ModelServer() as server:
        first = doctor.first(TARGET_BASE_URL=server.url.replace("http:", "https:"))
        assert "does not speak TLS" in first


def test_nginx_that_holds_a_stream_back(doctor: Doctor, nginx: Any) -> None:
    with ModelServer(pause_s=PAUSE_S) as server:
        first = doctor.first(TARGET_BASE_URL=nginx(server.url))
    assert "something between the model and this proxy holds the stream back" in first
    assert "server: nginx" in first
    assert "proxy_buffering off" in doctor.text.splitlines()[1]


def test_a_stream_that_flows(doctor: Doctor) -> None:
    with ModelServer(pause_s=PAUSE_S) as server:
        assert doctor.check("stream.flows", TARGET_BASE_URL=server.url)["status"] == "ok"


@pytest.mark.parametrize("stream", ["whole", "refused"])
def test_a_server_without_streams(doctor: Doctor, stream: str) -> None:
    with ModelServer(stream=stream) as server:
        first = doctor.first(TARGET_BASE_URL=server.url)
        assert f"the server of {server.url} does not stream" in first
        assert "MODE=non_stream" in doctor.text.splitlines()[1]


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        (
            {"thoughts": "tags"},
            "thoughts come in the text, between <think> and </think>; they are removed.",
        ),
        ({"thoughts": "field"}, "thoughts come in the field `reasoning_content`; clients get them there"),
        ({"thoughts": "unopened"}, "1 warning: thoughts come in the text without an opening tag, only </think>"),
        (
            {"thoughts": "tags", "tags": ["[THINK]", "[/THINK]"]},
            "1 warning: thoughts come in the text between [THINK] and [/THINK], which the settings do not name",
        ),
    ],
)
def test_thoughts(doctor: Doctor, traits: dict[str, Any], said: str) -> None:
    with ModelServer(**traits) as server:
        assert said in doctor.first(TARGET_BASE_URL=server.url)


def test_thoughts_whose_setting_was_followed(doctor: Doctor) -> None:
    with ModelServer(thoughts="unopened") as server:
        first = doctor.first(TARGET_BASE_URL=server.url, THINK_STARTS_OPEN="true")
        assert "thoughts come in the text up to </think>" in first


@pytest.mark.parametrize("tools", ["refused", "words"])
def test_no_tools(doctor: Doctor, tools: str) -> None:
    with ModelServer(tools=tools) as server:
        first = doctor.first(TARGET_BASE_URL=server.url)
        assert ("does not support tools (400)" if tools == "refused" else "answers in words") in first
        assert "--enable-auto-tool-choice" in doctor.text.splitlines()[1]


def test_a_model_that_does_not_exist(doctor: Doctor) -> None:
    with ModelServer(chat_status=404, chat_error="The model `m9` does not exist.") as server:
        first = doctor.first("--model", "m9", TARGET_BASE_URL=server.url)
    assert first == "1 problem: m9 does not answer a chat: 404: The model `m9` does not exist."
    assert "such as m1" in doctor.text.splitlines()[1]


def test_a_model_that_wants_another_limit(doctor: Doctor) -> None:
    with ModelServer(wants_completion_tokens=True) as server:
        assert WELL.match(doctor.first(TARGET_BASE_URL=server.url))
    assert "4 chat requests sent" in doctor.text


def test_chats_can_be_left_out(doctor: Doctor) -> None:
    with ModelServer(chat_status=500) as server:
        first = doctor.first("--no-chat", TARGET_BASE_URL=server.url)
    assert first == "Nothing wrong was found, but no model was asked (skipped: no chat was asked (--no-chat))."
    assert doctor.text.rstrip().endswith("no model was asked")


def test_settings_that_cannot_be_used(doctor: Doctor) -> None:
    assert "PORT" in doctor.first(PORT="many")
    assert doctor.status == 1
    assert "config.origin, config.warnings" in doctor.text


def test_the_line_of_an_upstream_in_a_file_is_named(doctor: Doctor, tmp_path: Path) -> None:
    with ModelServer(key=KEY) as server:
        gpu = f"  gpu:\n    base_url: {server.url}\n    api_key: sk-wrong-1234567890-qq\n"
        (tmp_path / "mine.yaml").write_text(f"upstreams:\n{gpu}  other: {{kind: demo}}\n")
        doctor.run("mine.yaml", "--upstream", "gpu")
    assert "correct upstreams.gpu.api_key (mine.yaml, line 4)" in doctor.text.splitlines()[1]
    assert "demo" not in doctor.text.partition("gpu  http")[2]


def test_an_upstream_that_there_is_not(doctor: Doctor) -> None:
    doctor.run("--upstream", "nope", DEMO="true")
    assert (doctor.status, doctor.text) == (2, "")


def test_warnings_count_where_it_is_strict(doctor: Doctor) -> None:
    doctor.run("--demo", "--strict", HOST="0.0.0.0")
    assert doctor.status == 1
    assert "anyone on this network can use the proxy" in doctor.text.partition("\n")[0]


def test_the_argo_gateway(doctor: Doctor, upstream: Upstream) -> None:
    settings = {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me"}
    assert WELL.match(doctor.first(**settings))
    assert "the user me is accepted" in doctor.text


def test_dashscope(doctor: Doctor, upstream: Upstream) -> None:
    settings = {"TARGET_BASE_URL": f"{upstream.url}/api/v1/services/aigc/", "TARGET_API_KEY": KEY}
    assert "name one with --model" in doctor.first(**settings)
    found = doctor.check("chat.stream", "--model", "qwen-plus", **settings)
    assert found["status"] == "ok"
    assert KEY not in doctor.text


def test_a_running_proxy(doctor: Doctor, serve: Serve) -> None:
    with ModelServer(pause_s=PAUSE_S, thoughts="tags") as server:
        settings = {"TARGET_BASE_URL": server.url, "ENABLE_AUTH": "true", "API_KEY_SECRET": "sk-of-a-client-1234"}
        proxy = serve(**settings)
        report = doctor.report("--through", **settings, PORT=str(proxy.port), SKIP_URL_VALIDATION="true", WORKERS="1")
    status = {check["code"]: check["status"] for check in report["checks"]}
    names = ("proxy.running", "proxy.version", "proxy.health", "proxy.settings", "through.stream", "through.flows")
    assert {name: status[name] for name in names} == dict.fromkeys(names, "ok")
    assert report["summary"]["chats_sent"] == 4
    assert "sk-of-a-client" not in doctor.text


def test_a_proxy_that_runs_with_other_settings(doctor: Doctor, serve: Serve) -> None:
    proxy = serve(DEMO="true")
    settings = {"DEMO": "true", "PORT": str(proxy.port), "WORKERS": "1", "THINK_FILTER": "false"}
    found = doctor.check("proxy.settings", "--no-chat", **settings, SKIP_URL_VALIDATION="true")
    assert (found["status"], found["evidence"]["differ"]) == ("warn", ["think_filter"])


def test_what_holds_a_stream_back_in_front_of_the_proxy(doctor: Doctor, serve: Serve, nginx: Any) -> None:
    with ModelServer(pause_s=PAUSE_S) as server:
        proxy = serve(TARGET_BASE_URL=server.url)
        first = doctor.first("--through", nginx(proxy.url, DEAF), TARGET_BASE_URL=server.url)
    assert "something between the proxy and its clients holds the stream back" in first


def test_another_program_where_the_proxy_should_be(doctor: Doctor) -> None:
    with ModelServer() as server:
        first = doctor.first("--through", server.url, TARGET_BASE_URL=server.url)
    assert "is not argoproxy" in first


def test_a_server_for_tls_behind_an_http_url(doctor: Doctor, tmp_path: Path, ca: trustme.CA) -> None:
    with ModelServer(certify(tmp_path, ca.issue_cert("localhost"))) as server:
        first = doctor.first(TARGET_BASE_URL=server.url.replace("https:", "http:"))
    assert first.endswith("is a server for TLS.")
    assert "begin the URL with https://" in doctor.text.splitlines()[1]


def test_a_server_that_knows_tools_but_not_that_one_must_be_called(doctor: Doctor) -> None:
    with ModelServer(tools="auto") as server:
        assert WELL.match(doctor.first(TARGET_BASE_URL=server.url))


def test_a_flag_is_corrected_as_a_flag(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.run("--url", f"{server.url}/v1/v1", "--no-chat")
    assert doctor.text.splitlines()[1] == f"  fix: --url {server.url}/v1"


@pytest.mark.parametrize("mistake", [("--patience", "soon"), ("--through", "nowhere"), ("--upstreams",)])
def test_a_mistake_on_the_command_line(doctor: Doctor, mistake: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        doctor.run(*mistake, DEMO="true")
    assert caught.value.code == 2


def test_a_terminal_that_lacks_characters(tmp_path: Path) -> None:
    environ = {"PYTHONIOENCODING": "ascii", "HOST": "127.0.0.1", "PORT": str(free_port())}
    ended = shell(f"{sys.executable} {ROOT}/cot_proxy.py doctor --demo --no-chat", tmp_path, environ)
    assert ended.returncode == 0, ended.stderr
    assert b"\\xb7" in ended.stdout


def test_a_plug_in_that_cannot_be_used(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("upstreams:\n  mine: {kind: 'no_such_module:Class'}\n")
    assert "no_such_module" in doctor.first()
    assert doctor.status == 1
