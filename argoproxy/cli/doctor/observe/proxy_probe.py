"""Ask the running proxy: whether it serves, with which settings, and a stream through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from argoproxy import __version__
from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer, ProxyFacts
from argoproxy.cli.doctor.observe.sample_requests import MODELS_REQUEST, STREAM, make_chat
from argoproxy.cli.doctor.observe.sender import Sender
from argoproxy.config.config import Config
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer, read_snapshot
from argoproxy.config.values.settings import SETTINGS
from argoproxy.server.banner import own_url
from argoproxy.server.runtime import SNAPSHOT, folder_at, pid_at
from argoproxy.transport.transport import Transport
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import OpenAIUpstream


class ProxyProbe:
    """Observes the proxy at a URL. `through` is the URL that the user named, "" if chats are not asked through it."""

    def __init__(self, config: Config, through: str, mask: Callable[[str], str], patience_s: float) -> None:
        self._config = config
        self._url = (through or own_url(config)).rstrip("/").removesuffix("/v1")
        self._is_own = self._url == own_url(config)
        self._is_asked = bool(through)
        key = config.own_key
        authorization = f"Bearer {key}" if key else ""
        self._client = OpenAIUpstream(BaseUrl.parse(f"{self._url}/v1"), authorization, key.encode(), "through")
        self._sender = Sender(Transport(1, math.inf), mask, patience_s)

    def close(self) -> None:
        """Close its connections."""
        self._sender.close()

    def observe(self, layers: Sequence[Layer]) -> ProxyFacts:
        """Return what costs nothing to see."""
        pid = pid_at(self._config.server.port) if self._is_own else None
        facts = ProxyFacts(self._url, pid, version=__version__, is_asked=self._is_asked)
        facts = replace(facts, live=(live := self._get("/health/live")))
        if live.failure or live.status != 200:
            return facts
        facts = replace(facts, health=self._get("/health"), stale=self._find_differences(layers) if pid else ())
        if not self._is_asked:
            return facts
        return replace(facts, models=self._sender.ask(self._client.model_list_request(MODELS_REQUEST)))

    def observe_chat(self, facts: ProxyFacts, model: str, direct: Chat | None) -> ProxyFacts:
        """Return the facts with a stream that came through the proxy; `direct` is that of the upstream."""
        if not self._is_asked or not model or facts.models is None or not facts.models.lists_models:
            return facts
        chat = self._sender.chat(self._client, make_chat(model, STREAM))
        return replace(facts, chat=chat, model=model, direct=direct, chats_sent=1)

    def _get(self, path: str) -> HttpAnswer:
        return self._sender.ask(UpstreamRequest("GET", self._url + path, (("Accept", "application/json"),)))

    def _find_differences(self, layers: Sequence[Layer]) -> Sequence[str]:
        """Return the settings that the running proxy has other values of."""
        folder = folder_at(self._config.server.port)
        if folder is None:
            return ()
        try:
            running = ConfigValues(read_snapshot(folder / SNAPSHOT))
        except (OSError, ValueError, TypeError):
            return ()
        now = ConfigValues(layers)
        return [setting.key for setting in SETTINGS if running[setting.key] != now[setting.key]]
