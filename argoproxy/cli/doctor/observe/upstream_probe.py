"""Ask one upstream, step by step, with requests that its adapter builds. What a failed step makes pointless is left
out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from argoproxy.cli.doctor.judge.findings import Status
from argoproxy.cli.doctor.judge.guesses import likely_bases, pick_model
from argoproxy.cli.doctor.judge.observations import DENIED, NO_PATH, Chat, HttpAnswer, Network, UpstreamFacts
from argoproxy.cli.doctor.judge.server_verdicts import judge_auth, judge_http
from argoproxy.cli.doctor.observe.network_probe import probe_network, speaks_tls
from argoproxy.cli.doctor.observe.places import Places
from argoproxy.cli.doctor.observe.sample_requests import (
    CHAT,
    MODELS_REQUEST,
    STREAM,
    SURFACES,
    TOOLS,
    WHOLE,
    make_chat,
)
from argoproxy.cli.doctor.observe.sender import PATIENCE_S, Sender
from argoproxy.config.config import Config
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.errors import ProxyError
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.http_messages import without
from argoproxy.protocol.json_text import as_dicts, as_text
from argoproxy.protocol.routing.call import make_call
from argoproxy.protocol.routing.route import Credentials, Route
from argoproxy.protocol.routing.router import Models
from argoproxy.server.start_check import CONTAINER_MARKS
from argoproxy.upstreams import Upstream, UpstreamRequest
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import ResponsesApi
from argoproxy.web.upstream_factory import make_transport, models_of, provider


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: chats or none, of which model ("": one is picked), and how long a chat may take. `note` shows the
    user what is waited for."""

    asks_chat: bool = True
    model: str = ""
    note: Callable[[str], None] = lambda text: None
    patience_s: float = PATIENCE_S


class UpstreamProbe:
    """Observes one upstream."""

    def __init__(self, settings: UpstreamSettings, config: Config, mask: Callable[[str], str], wish: Wish) -> None:
        self._settings, self._wish = settings, wish
        models = replace(models_of(config), allowed=AllowList())
        self._models: Models[Upstream] = models.bound_to(provider(settings))
        self._upstream = self._models.default.upstream
        self._names = _named_models(config, settings, models)
        transport = make_transport(settings, config)
        self._sender = Sender(transport, mask, wish.patience_s)
        self._next_hop = transport.next_hop
        #: Whether the server wants `max_completion_tokens` in place of `max_tokens`.
        self._renames_limit = False
        self._chats_sent = 0

    def observe(self, places: Places) -> UpstreamFacts:
        """Return everything that could be seen."""
        facts = self.observe_list(places)
        if _is_usable(facts):
            facts = self._ask_surfaces(self._ask_chats(facts))
        return replace(facts, chats_sent=self._chats_sent)

    def observe_list(self, places: Places) -> UpstreamFacts:
        """Return what is seen without a chat: whether its server can be used, and which models it lists."""
        facts = self._know(places)
        facts = replace(facts, network=self._probe_networks())
        if all(network.is_up for network in facts.network):
            facts = self._ask_server(facts)
        return self._name_models(facts) if _is_usable(facts) else facts

    def close(self) -> None:
        """Close its connections."""
        self._sender.close()

    def _know(self, places: Places) -> UpstreamFacts:
        """Return what the settings tell."""
        settings, target = self._settings, self._settings.target
        keys = [key.text for key in (*target.keys, *settings.access.keys)]
        user = target.identity.user if isinstance(target, ArgoTarget) else ""
        return UpstreamFacts(
            name=settings.name,
            kind=type(target).kind,
            url=target.url or target.description,
            url_place=places.url_of(settings.name),
            key_place=places.key_of(settings.name),
            key=describe_key(keys[0]) if keys else f"the user {user}" if user else "",
            takes_clients_keys=settings.credentials is Credentials.FORWARDED and target.takes_credentials,
            is_passthrough=settings.is_passthrough,
            is_container=any(map(os.path.exists, CONTAINER_MARKS)),
            named_models=self._names,
            asks_no_chat=not self._wish.asks_chat,
            forwards_responses=isinstance(target, OpenAITarget) and target.responses is ResponsesApi.FORWARD,
        )

    def _probe_networks(self) -> Sequence[Network]:
        """Look at each server of the upstream once; at none where it has no URL, as the demo and some plug-ins."""
        urls = [url for url in self._settings.target.urls if url.startswith(("http://", "https://"))]
        hops = {urlsplit(url)[:2]: url for url in urls}
        bundle = self._settings.access.ca_bundle
        return [probe_network(url, self._next_hop(url), bundle) for url in hops.values()]

    def _ask_server(self, facts: UpstreamFacts) -> UpstreamFacts:
        """Ask for what costs nothing; where that is no API, look for it elsewhere on the server."""
        request = self._listing_request(facts)
        if request is None:
            return facts
        facts = replace(facts, listing=(listing := self._sender.ask(request)))
        if listing.failure and facts.network and facts.url.startswith("http://"):
            first = facts.network[0]
            return replace(facts, speaks_tls=not first.hop and speaks_tls(first.host, first.port))
        if listing.status in DENIED and facts.key:
            bare = replace(request, headers=without(request.headers, CREDENTIAL_HEADERS))
            facts = replace(facts, keyless=self._sender.ask(bare))
        is_odd = listing.status in NO_PATH or listing.is_html or (listing.status == 200 and not listing.lists_models)
        if not (facts.has_model_list and is_odd):
            return facts
        facts = replace(facts, candidates=self._find_bases(facts.url, request, listing))
        return facts if facts.candidates else replace(facts, empty_chat=self._ask_empty(CHAT))

    def _listing_request(self, facts: UpstreamFacts) -> UpstreamRequest | None:
        upstream = self._upstream
        return upstream.model_list_request(MODELS_REQUEST) if facts.has_model_list else upstream.probe_request()

    def _find_bases(self, url: str, request: UpstreamRequest, listing: HttpAnswer) -> Sequence[tuple[str, HttpAnswer]]:
        """Return other base URLs of the same server that answer as an API, a list of models before a refused key."""
        asked = {request.url}
        found = []
        for base in likely_bases(url):
            there = BaseUrl.parse(base).url("/v1/models", "")
            if there in asked:
                continue
            asked.add(there)
            answer = self._sender.ask(replace(request, url=there))
            if answer.lists_models:
                return [(base, answer)]
            if answer.status in DENIED and answer.document and listing.status not in DENIED:
                found.append((base, answer))
        return found

    def _ask_empty(self, path: str) -> HttpAnswer:
        """Ask with an empty body, which servers refuse: they tell whether they have the path, and no model runs."""
        call = make_call(replace(MODELS_REQUEST, method="POST", path=path), {}, path)
        return self._sender.ask(self._upstream.completion_request(call))

    def _name_models(self, facts: UpstreamFacts) -> UpstreamFacts:
        models = self._list_models(facts)
        picked = pick_model(models, facts.named_models, self._settings.target.sample_model)
        return replace(facts, models=models, model=self._wish.model or picked)

    def _list_models(self, facts: UpstreamFacts) -> Sequence[str]:
        """Return the names that the server lists, else those that its adapter knows."""
        try:
            if facts.listing and facts.listing.lists_models:
                document = self._upstream.read_model_list(facts.listing.body.encode(), "", 0).chunk
            elif shared := self._upstream.shared_model_list_request():
                document = self._upstream.read_model_list(self._sender.ask(shared).body.encode(), "", 0).chunk
            else:
                document = {"data": list(self._upstream.static_models(0))}
        except ProxyError:
            document = {"data": list(self._upstream.static_models(0))}
        return [name for entry in as_dicts(document.get("data")) if (name := as_text(entry.get("id")))]

    def _ask_chats(self, facts: UpstreamFacts) -> UpstreamFacts:
        """Ask a whole chat, a stream, and a call of a function."""
        if facts.asks_no_chat or not facts.model:
            return facts
        try:
            route = self._route(facts.model, STREAM)
        except ProxyError as error:
            return replace(facts, whole=Chat(problem=error.message))
        self._wish.note(f"asking {facts.model} of {facts.name} in three short chats (--no-chat asks none) …")
        facts = replace(facts, reasoning=route.reasoning, is_stream_off=not route.call.stream)
        facts = replace(facts, whole=self._ask_chat(facts.model, WHOLE))
        if facts.whole and not facts.whole.is_answered and facts.whole.answer.status not in (400, 422):
            return facts
        facts = replace(facts, stream=self._ask_chat(facts.model, STREAM))
        return replace(facts, tools=self._ask_for_call(facts.model))

    def _ask_for_call(self, model: str) -> Chat:
        """Ask for a call of a function; once more where the server knows tools, but not how to require a call."""
        chat = self._ask_chat(model, TOOLS)
        if chat.answer.status in (400, 422) and "tool_choice" in chat.problem:
            return self._ask_chat(model, {key: value for key, value in TOOLS.items() if key != "tool_choice"})
        return chat

    def _ask_chat(self, model: str, body: Mapping[str, Any]) -> Chat:
        chat = self._send_chat(model, body)
        if "max_completion_tokens" in chat.problem and not self._renames_limit:
            self._renames_limit = True
            return self._send_chat(model, body)
        return chat

    def _send_chat(self, model: str, body: Mapping[str, Any]) -> Chat:
        if self._renames_limit:
            body = {"max_completion_tokens" if key == "max_tokens" else key: value for key, value in body.items()}
        route = self._route(model, body)
        self._chats_sent += 1
        return self._sender.chat(route.upstream, route.call)

    def _route(self, model: str, body: Mapping[str, Any]) -> Route[Upstream]:
        """Return the call as the proxy would send it to this upstream. Raises ProxyError."""
        return self._models.resolve(make_chat(model, body))[0]

    def _ask_surfaces(self, facts: UpstreamFacts) -> UpstreamFacts:
        if facts.kind not in ("openai", "native"):
            return facts
        return replace(facts, surfaces={path: self._ask_empty(path) for path in SURFACES})


def _is_usable(facts: UpstreamFacts) -> bool:
    """Return whether the server can be asked for more."""
    return all(network.is_up for network in facts.network) and not any(_has_failed(facts))


def _has_failed(facts: UpstreamFacts) -> Sequence[bool]:
    """Return, for the checks before a chat, which failed."""
    findings = (judge_http(facts), judge_auth(facts))
    return [finding is not None and finding.status is Status.FAIL for finding in findings]


def _named_models(config: Config, settings: UpstreamSettings, models: Models[Upstream]) -> Sequence[str]:
    """Return the models that the settings want of an upstream, by the names that are sent to it."""
    is_default = settings.name == config.upstreams[0].name
    wanted = [config.default_model] if config.default_model and is_default else []
    wanted += [rule.name for rule in config.rules if rule.is_pseudo_model]
    names: list[str] = []
    for name in wanted:
        try:
            routes = models.resolve(make_chat(name, WHOLE))
        except ProxyError:
            continue
        names += [route.call.model for route in routes if route.upstream.name == settings.name]
    return list(dict.fromkeys(names))


def describe_key(key: str) -> str:
    """Return the length of a key, and its last two characters if it is long enough that they tell nothing."""
    end = f", it ends with {key[-2:]}" if len(key) >= 12 else ""
    return f"a key of {len(key)} characters{end}"
