"""All views but the live one, as the routes of the console call them. Settings and counts are read at each call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from argoproxy.console.exchange.exchange_shapes import ShownExchange
from argoproxy.console.exchange.exchange_view import read_exchange
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.paced_cache import PacedCache
from argoproxy.console.proxy_client import ForwardedAnswer, ForwardedChat, ModelNames, forward_chat
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.keys_view import KeyBooks, KeyUse, show_keys
from argoproxy.console.views.log_view import read_log
from argoproxy.console.views.models_view import add_circuits, make_view, show_models
from argoproxy.console.views.settings_view import show_settings
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals
from argoproxy.console.views.upstreams_view import read_states, show_upstreams
from argoproxy.console.views.usage_view import read_today, show_usage
from argoproxy.console.views.view_shapes import (
    Counts,
    DoctorView,
    KeysView,
    LogView,
    ModelsView,
    SettingsView,
    UpstreamsView,
    UsageView,
)
from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import as_dict, as_text
from argoproxy.protocol.reasoning.policy import ReasoningSettings

Query = Mapping[str, str]
LONGEST_MODEL = 500


class DataViews:
    """The views of one console."""

    def __init__(
        self,
        settings: SettingsReader,
        totals: RecentTotals,
        doctor: DoctorRuns,
        requests: RequestReader,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._totals, self._doctor, self._requests = settings, totals, doctor, requests
        self._clock = clock
        self._listed, self._keys = ModelNames(), KeyBooks()
        self._usage = PacedCache[UsageView]()
        self._today = PacedCache[tuple[Mapping[str, Counts], str]]()

    def exchange(self, request_id: str) -> ShownExchange:
        """Return a request by its id, or the beginning of it."""
        sources = self._settings.read()

        def find_reasoning(model: str, path: str) -> ReasoningSettings:
            return sources.models.plan_for(model[:LONGEST_MODEL], path).reasoning

        return read_exchange(sources.config.journal, request_id, find_reasoning, sources.config.server.port)

    def models(self) -> ModelsView:
        """Return the models."""
        now, sources = self._clock(), self._settings.read()
        totals = self._totals.read()
        recent = self._requests.read_ended(sources, now)
        shown = show_models(sources, self._listed.names(sources.config), recent, totals, now)
        return make_view(add_circuits(shown, read_states(sources)), totals)

    def upstreams(self) -> UpstreamsView:
        """Return the upstreams."""
        sources = self._settings.read()
        return show_upstreams(sources, read_states(sources), self._totals.read())

    def keys(self, query: Query) -> KeysView:
        """Return keys, teams, and what is left of limits."""
        sources = self._settings.read()
        now = self._clock()
        today, reason = self._today.find(id(sources), lambda: read_today(sources, now))
        use = KeyUse(self._totals.read(), today, reason)
        return show_keys(sources, self._keys.read(sources), use, query.get("find", ""), now)

    def usage(self, query: Query) -> UsageView:
        """Return sums of usage. Raises BadRequest, StateUnavailable."""
        sources = self._settings.read()
        question = (id(sources), *(query.get(name, "") for name in ("by", "since", "key")))
        return self._usage.find(question, lambda: show_usage(sources, self._totals.read(), query, self._clock()))

    def settings(self, query: Query) -> SettingsView:
        """Return the settings, and what becomes of the model in the query."""
        return show_settings(self._settings.read(), query.get("model", ""))

    def log(self, query: Query) -> LogView:
        """Return the end of the log."""
        return read_log(self._settings.read().config.journal, query.get("after", ""))

    def doctor(self) -> DoctorView:
        """Return the last report of doctor."""
        return self._doctor.view()

    def run_doctor(self, document: Any) -> DoctorView:
        """Start doctor with the options `{"model": …, "chat": true}`, and return at once. Raises BadRequest."""
        options = as_dict(document)
        model, chat = options.get("model", ""), options.get("chat", False)
        if not isinstance(model, str) or len(model) > LONGEST_MODEL or model.startswith("-"):
            raise BadRequest("`model` must be the name of a model.", param="model")
        if not isinstance(chat, bool):
            raise BadRequest("`chat` must be true or false.", param="chat")
        return self._doctor.start(as_text(model), asks_chat=chat)

    def try_chat(self, document: Any) -> ForwardedAnswer:
        """Send a chat to the proxy. Raises BadRequest, UpstreamUnreachable."""
        return forward_chat(self._settings.read().config, ForwardedChat.parse(document))

    def stop(self) -> None:
        """End what runs beside the console."""
        self._doctor.stop()
