"""Proxies with a console, which have served what the tests look for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port, is_listening
from tests.support.scripts import completion, reply

TOKEN = "token-of-the-console-0123456789"
#: Would run, or load something, if it became markup.
CANARY = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'><b id=canary>"
KEY = "sk-console-0123456789"
#: Is in settings alone, and must not leave them.
UPSTREAM_KEY = "sk-of-the-upstream-0123456789"
VIEWS = ["live", "models", "upstreams", "keys", "usage", "settings", "try", "doctor", "log"]


@dataclass(frozen=True)
class ConsoleProxy:
    """A proxy, the port of its console, and the id of a request that it has served."""

    proxy: Proxy
    port: int
    request_id: str

    def address(self, view: str, token: str = TOKEN) -> str:
        """Return the address of a view."""
        return address(self.port, view, token)


def address(port: int, view: str, token: str = TOKEN) -> str:
    """Return the address of a view of the console at a port."""
    return f"http://127.0.0.1:{port}/#token={token}&to={view}"


def console_settings(folder: Path, port: int, **more: Any) -> str:
    """Write a config file with a journal and a console, and return its path."""
    document = {
        "state_path": str(folder / "state"),
        "output_path": str(folder / "journal"),
        "console": f"127.0.0.1:{port}",
        "console_token": TOKEN,
        **more,
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(document))
    return str(file)


def start_odd_proxy(serve: Serve, upstream: Upstream, folder: Path) -> ConsoleProxy:
    """Start a proxy, and send it requests in which everything is odd."""
    script = upstream.script(
        reply(body=completion(f"<think>{CANARY}</think>{CANARY}"), Content_Type="application/json")
    )
    error = json.dumps({"error": {"message": f"{CANARY} {UPSTREAM_KEY}", "type": CANARY, "code": CANARY}}).encode()
    refusing = upstream.script(reply("500 Broken", error, Content_Type="application/json"))
    port = free_port()
    settings = console_settings(
        folder,
        port,
        upstreams={
            "up": {"base_url": upstream.url, "api_key": UPSTREAM_KEY},
            "odd": {"base_url": f"{upstream.url}/s/{script}"},
            "refusing": {"base_url": f"{upstream.url}/s/{refusing}", "api_key": UPSTREAM_KEY},
        },
        models={
            "odd*": {"upstream": "odd"},
            "refused*": {"upstream": "refusing"},
            CANARY: {"upstream_model_name": CANARY},
        },
        keys={"ann": {"key": KEY, "rpm": 1000, "budget": "5/month"}, "sk-looks-like-a-key": {"key": f"{KEY}-2"}},
        prices={"*": {"input": 1, "output": 1}},
        enable_auth=True,
    )
    proxy = serve(CONFIG_PATH=settings)
    eventually(lambda: is_listening(port))
    headers = {"Authorization": f"Bearer {KEY}", "User-Agent": CANARY}
    asked = [{"role": "user", "content": CANARY}]
    answer = chat(proxy.port, model=f"odd{CANARY}", messages=asked, headers=headers)
    assert answer.status == 200, answer.body
    chat(proxy.port, model=CANARY, messages=asked, headers=headers)
    assert chat(proxy.port, model=f"refused{CANARY}", messages=asked, headers=headers).status == 500
    other = {**headers, "Authorization": f"Bearer {KEY}-2"}
    proxy.line(chat(proxy.port, model="m", messages=asked, headers=other).id)
    return ConsoleProxy(proxy, port, answer.id)
