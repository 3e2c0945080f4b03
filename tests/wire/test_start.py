"""Starting and stopping it, in every way there is."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, ROOT, Proxy, Upstream, clean_environment, eventually, free_port

#: With it, a stop that waits for anything lasts longer than `Proxy.stop` has patience.
PATIENT = {"GRACEFUL_TIMEOUT": "600"}
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]


@pytest.mark.parametrize("way", ["cot_proxy.py", "app.py", "gunicorn cot_proxy:app", "gunicorn app:app"])
def test_every_way_serves_alike(upstream: Upstream, tmp_path: Path, way: str) -> None:
    port = free_port()
    (tmp_path / "config.yaml").write_text(
        f"port: {port}\nnum_workers: 2\nllm_params: model=mine,upstream_model_name=m1\n"
    )
    environ = {"TARGET_BASE_URL": upstream.url, "PORT": str(port), **PATIENT}
    if way.startswith("gunicorn"):
        command = [*GUNICORN[:-1], str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), way.split()[1]]
    else:
        command = [sys.executable, str(ROOT / way)]
    proxy = Proxy(tmp_path, environ, command)
    try:
        eventually(lambda: len(proxy.workers()) == 2)
        assert [model["id"] for model in ask(proxy.port, "GET", "/v1/models").json["data"]] == ["m1", "m2", "mine"]
        assert chat(proxy.port, model="mine", stream=True).text == "Hello there!"
    finally:
        status = proxy.stop()
    assert status == 0, proxy.log()
    assert "Traceback" not in proxy.log()
    assert "WARNING" not in proxy.log()


def test_flags_and_a_named_file(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "my config.yaml").write_text(
        "port: 1\nnum_workers: 1\nverbose: false\ntarget_base_url: http://nowhere.invalid\n"
    )
    port = free_port()
    command = [sys.executable, str(ROOT / "cot_proxy.py"), "my config.yaml", "--port", str(port), "--url", upstream.url]
    proxy = Proxy(tmp_path, {"PORT": str(port), "HOST": "127.0.0.1"}, command)
    try:
        answer = chat(proxy.port)
        assert answer.status == 200
        assert len(proxy.workers()) == 1
        assert "TARGET_BASE_URL" not in proxy.log()
        assert answer.id not in proxy.log(), "verbose is off"
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "cot_proxy.py"], [sys.executable, "app.py", "--demo"], [*GUNICORN, "cot_proxy:app"]],
    ids=["cot_proxy.py", "app.py", "gunicorn"],
)
def test_a_refused_start_exits_with_2_and_says_why(command: list[str]) -> None:
    environ = {**clean_environment(), "PORT": "many", "TARGET_BASE_URL": "my-server"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 2
    heading, port, url = ended.stderr.splitlines()
    assert heading == "argoproxy can't start:"
    assert port.startswith("  - environment: PORT 'many' ")
    assert url.startswith("  - environment: TARGET_BASE_URL 'my-server' ")
    assert url.endswith('; did you mean "http://my-server"?')


def test_without_our_gunicorn_settings_a_broken_setting_does_not_serve(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{free_port()}", "cot_proxy:app"]
    environ = {**clean_environment(), "DEBUG": "maybe"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode != 0
    assert "environment: DEBUG 'maybe' " in ended.stderr


def test_debug_logs_more(serve: Serve, upstream: Upstream) -> None:
    loud, quiet = serve(TARGET_BASE_URL=upstream.url, DEBUG="true"), serve(TARGET_BASE_URL=upstream.url)
    for proxy in (loud, quiet):
        answer = chat(proxy.port)
        proxy.line(answer.id)
        assert ("DEBUG" in proxy.log()) is (proxy is loud)
    assert f"DEBUG id={chat(loud.port).id}" in loud.log()


def test_the_start_tells_what_is_served(serve: Serve, upstream: Upstream) -> None:
    log = serve(TARGET_BASE_URL=f"http://user:secret-word@localhost:{upstream.port}/").log()
    assert f"in front of http://localhost:{upstream.port}" in log
    assert "secret-word" not in log


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_it_stops_at_once_when_idle(upstream: Upstream, tmp_path: Path, worker_class: str) -> None:
    proxy = Proxy(tmp_path, {"TARGET_BASE_URL": upstream.url, "WORKER_CLASS": worker_class, **PATIENT})
    assert chat(proxy.port).status == 200
    assert proxy.stop() == 0


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_it_stops_at_once_while_workers_boot(tmp_path: Path, worker_class: str) -> None:
    for _ in range(3):
        proxy = Proxy(tmp_path, {"DEMO": "true", "WORKERS": "4", "WORKER_CLASS": worker_class, **PATIENT})
        assert proxy.stop() == 0, proxy.log()


@pytest.mark.parametrize("command", [[*GUNICORN, "cot_proxy:app"], [sys.executable, "cot_proxy.py"]])
def test_the_port_is_taken(upstream: Upstream, tmp_path: Path, command: list[str]) -> None:
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**clean_environment(), "DEMO": "1", "HOST": "127.0.0.1", "PORT": str(upstream.port)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 3
    *from_gunicorn, line = ended.stderr.splitlines()
    assert len(from_gunicorn) <= command.count("gunicorn")  # it says that it starts
    assert line.startswith(f"argoproxy can't start: port {upstream.port} is taken by ")
    assert "(process " in line
    offer = re.fullmatch(r".*; --port (\d+) is free", line)
    assert offer
    assert int(offer[1]) > upstream.port


@pytest.mark.parametrize(
    "command", [(), (sys.executable, str(ROOT / "cot_proxy.py"))], ids=["gunicorn", "cot_proxy.py"]
)
def test_a_socket_that_is_handed_over_is_not_taken_for_another_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A master that is replaced by a USR2 hands its socket to the new one."""
    proxy = Proxy(tmp_path, {"DEMO": "true", "WORKERS": "1"}, command)
    try:
        proxy.process.send_signal(signal.SIGUSR2)
        eventually(lambda: proxy.log().count("Listening at") == 2)
        assert "can't start" not in proxy.log()
    finally:
        newer = [int(pid) for pid in re.findall(r"Listening at: \S+ \((\d+)\)", proxy.log())[1:]]
        for pid in newer:
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in newer), 20)
        assert proxy.stop() == 0


def lines_of(proxy: Proxy, word: str) -> list[str]:
    return [line.partition(word)[2] for line in proxy.log().splitlines() if word in line]


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"DEMO": "true"}, "demo"),
        ({"DEMO": "true", "DEFAULT_MODEL": "it's mine"}, "it's mine"),
        ({"DEMO": "true", "ENABLE_AUTH": "true", "API_KEY_SECRET": "sk-mine", "HOST": "0.0.0.0"}, "demo"),
    ],
)
def test_the_start_gives_a_command_that_works(start: Serve, settings: dict[str, str], model: str) -> None:
    proxy = start(**settings)
    (command,) = eventually(lambda: lines_of(proxy, "Try it: "))
    (base,) = lines_of(proxy, "Base URL for clients on this machine: ")
    assert base.startswith(f"http://{'localhost' if 'HOST' in settings else '127.0.0.1'}:{proxy.port}/v1 ")
    words = shlex.split(command.replace("YOUR_KEY", "sk-mine"))
    assert json.loads(words[-1])["model"] == model
    shown = subprocess.run([*words, "-sS"], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    assert json.loads(shown)["choices"][0]["message"]["content"]


def test_the_command_asks_for_the_models_where_none_is_known(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    (command,) = eventually(lambda: lines_of(proxy, "Try it: "))
    shown = subprocess.run(
        [*shlex.split(command), "-sS"], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert json.loads(shown.stdout)["object"] == "list"


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"TARGET_API_KEY": "sk-mine", "HOST": "0.0.0.0"}, 1),
        ({"TARGET_API_KEY": "sk-mine", "HOST": "0.0.0.0", "ENABLE_AUTH": "true"}, 0),
        ({"TARGET_API_KEY": "sk-mine"}, 0),
        ({"HOST": "0.0.0.0"}, 0),
    ],
)
def test_a_key_that_anyone_could_spend_is_warned_of(
    start: Serve, upstream: Upstream, settings: dict[str, str], times: int
) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, **settings)
    eventually(lambda: lines_of(proxy, "Try it: "))
    warnings = [line for line in proxy.log().splitlines() if "[WARNING]" in line]
    assert sum("ENABLE_AUTH" in warning for warning in warnings) == times
    assert "sk-mine" not in proxy.log()


def test_the_scripts_are_sound() -> None:
    for name in ("run_app.sh", "run_tests.sh", "lock_requirements.sh", ".ci/run"):
        subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
        assert os.access(ROOT / name, os.X_OK)


def test_the_images_health_check(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    for port, status in ((proxy.port, 0), (free_port(), 1)):
        environ = {**clean_environment(), "PORT": str(port)}
        assert (
            subprocess.run(
                [sys.executable, "-m", "argoproxy.server.healthcheck"], cwd=ROOT, env=environ, check=False
            ).returncode
            == status
        )
