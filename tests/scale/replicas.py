"""Three replicas of the proxy on one machine, each with a state folder of its own, behind nginx or HAProxy."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.scale.engines import Engine, HAProxy, Nginx
from tests.support.client import Answer, Client, chat
from tests.support.processes import ROOT, Proxy, Upstream, eventually, free_port, is_listening

COUNT = 3
WORKERS = "2"
NGINX_FILE = ROOT / "deploy" / "compose" / "nginx.conf"
HAPROXY_FILE = ROOT / "deploy" / "haproxy.cfg"
#: Longer than any stream of a test.
GRACEFUL_S = 60

Front = Callable[[Path, list[int]], Engine]


def front_nginx(folder: Path, ports: list[int]) -> Engine:
    """Start nginx with the recipe, in front of these ports."""
    return Nginx(folder, _place(NGINX_FILE.read_text(), ports).replace("listen 8080", "listen 127.0.0.1:{port}"))


def front_haproxy(folder: Path, ports: list[int]) -> Engine:
    """Start HAProxy with the recipe, in front of these ports."""
    return HAProxy(folder, _place(HAPROXY_FILE.read_text(), ports).replace("bind :8080", "bind 127.0.0.1:{port}"))


def _place(recipe: str, ports: list[int]) -> str:
    """Return a recipe with a line of a server for each port, in place of those that it has."""
    lines = recipe.splitlines(keepends=True)
    is_server = [re.match(r"\s+server (replica-1 )?replica-1:5000", line) is not None for line in lines]
    (at,) = [number for number, found in enumerate(is_server) if found]
    servers = [
        lines[at].replace("replica-1:5000", f"127.0.0.1:{port}").replace("replica-1", f"replica-{number}")
        for number, port in enumerate(ports, 1)
    ]
    rest = [line for line in lines[at + 1 :] if ":5000" not in line]
    return "".join([*lines[:at], *servers, *rest])


class Replicas:
    """The replicas and what stands in front of them; clients ask at `port`."""

    def __init__(self, folder: Path, upstream: Upstream, front: Front, settings: dict[str, Any]) -> None:
        self.upstream = upstream
        self._folder, self._settings = folder, settings
        self._ports = [free_port() for _ in range(COUNT)]
        for number in range(COUNT):
            self._folder_of(number).mkdir()
        self.proxies = [self._start(number) for number in range(COUNT)]
        (folder / "front").mkdir()
        self.front = front(folder / "front", self._ports)

    @property
    def port(self) -> int:
        """Where clients ask."""
        return self.front.port

    def chat(self, **body: Any) -> Answer:
        """Ask for a completion, and read the whole answer."""
        return chat(self.port, **body)

    def send(self, script: str = "", **body: Any) -> Client:
        """Ask for a stream, and do not wait."""
        client = Client(self.port)
        asked = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **body}
        named = {"X-Script": script} if script else {}
        client.send("POST", "/v1/chat/completions", json.dumps(asked).encode(), **named)
        return client

    def wait_until_serving(self) -> None:
        """Wait until all replicas have all their workers."""
        eventually(lambda: all(len(proxy.workers()) == int(WORKERS) for proxy in self.proxies))

    def restart(self, number: int) -> None:
        """Stop a replica as a rollout does, and start it again at its port once it has ended."""
        assert self.proxies[number].stop() == 0
        self.proxies[number] = self._start(number)

    def kill(self, number: int) -> None:
        """Kill all processes of a replica."""
        proxy = self.proxies[number]
        workers = proxy.workers()
        proxy.process.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        proxy.process.wait()
        eventually(lambda: not is_listening(self._ports[number]))

    def stop(self) -> None:
        """Stop all."""
        self.front.stop()
        for proxy in self.proxies:
            if proxy.process.poll() is None:
                proxy.process.send_signal(signal.SIGINT)
        for proxy in self.proxies:
            proxy.process.wait()

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"replica-{number + 1}"

    def _start(self, number: int) -> Proxy:
        folder = self._folder_of(number)
        document = {
            "upstreams": {"up": {"base_url": f"{self.upstream.url}/v1", "api_key": "sk-up"}},
            "state_path": str(folder / "state"),
            "graceful_timeout": GRACEFUL_S,
            **self._settings,
        }
        (folder / "config.yaml").write_text(json.dumps(document))
        environ = {"CONFIG_PATH": str(folder / "config.yaml"), "WORKERS": WORKERS, "PORT": str(self._ports[number])}
        return Proxy(folder, environ)


@contextmanager
def replicas_behind(front: Front, folder: Path, upstream: Upstream, **settings: Any) -> Iterator[Replicas]:
    """Run replicas with these settings of the file, and stop them at the end."""
    running = Replicas(folder, upstream, front, settings)
    try:
        running.wait_until_serving()
        yield running
    finally:
        running.stop()
