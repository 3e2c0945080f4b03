"""The models that clients may ask for: from the running proxy, or from the upstreams, as the proxy would list them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from argoproxy.cli.doctor.judge.findings import Finding, Status, by_urgency, run_checks
from argoproxy.cli.doctor.judge.observations import HttpAnswer, UpstreamFacts
from argoproxy.cli.doctor.judge.surface_verdicts import UPSTREAM_CHECKS
from argoproxy.cli.doctor.observe.places import Places
from argoproxy.cli.doctor.observe.sample_requests import MODELS_REQUEST
from argoproxy.cli.doctor.observe.sender import Sender
from argoproxy.cli.doctor.observe.upstream_probe import UpstreamProbe, Wish
from argoproxy.config.config import Config
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.values.layers import Layer
from argoproxy.errors import ProxyError, UpstreamUnreachable
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.json_text import Json, as_dicts, as_text
from argoproxy.protocol.routing.model_list import merge_model_lists
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.stream.sse import Document
from argoproxy.transport.transport import Transport
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import OpenAIUpstream
from argoproxy.web.upstream_factory import collect_secrets, models_of

#: The checks that cost nothing, in the order of `doctor`.
FREE_CHECKS = tuple(check for check in UPSTREAM_CHECKS if check.code in ("dns", "tcp", "tls", "http", "auth", "models"))


@dataclass(frozen=True, slots=True)
class Catalog:
    """What clients may ask for: entries as JSON, where they come from, and what is wrong there, the most urgent
    first."""

    source: str
    entries: Sequence[Json]
    problems: Sequence[Finding]

    @property
    def has_failed(self) -> bool:
        """Whether there is no list, or one that lacks models of an upstream."""
        return any(problem.status is Status.FAIL for problem in self.problems)


def ask_proxy(config: Config, url: str) -> Catalog:
    """Return the models that a running proxy lists, asked with the first of its keys."""
    key = config.own_key
    client = OpenAIUpstream(BaseUrl.parse(f"{url}/v1"), f"Bearer {key}" if key else "", key.encode(), "proxy")
    with closing(Sender(Transport(1, math.inf), _make_mask(config))) as sender:
        answer = sender.ask(client.model_list_request(MODELS_REQUEST))
    problems = () if answer.lists_models else (_refused_listing(url, answer),)
    entries = as_dicts((answer.document or {}).get("data")) if answer.lists_models else ()
    return Catalog(url, tuple(_describe_entries(models_of(config), entries)), problems)


def ask_upstreams(config: Config, layers: Sequence[Layer]) -> Catalog:
    """Return the models that a proxy with these settings would list, all upstreams being asked side by side."""
    mask, places, models = _make_mask(config), Places(layers), models_of(config)

    def observe(settings: UpstreamSettings) -> UpstreamFacts:
        with closing(UpstreamProbe(settings, config, mask, Wish(asks_chat=False))) as probe:
            return probe.observe_list(places)

    with ThreadPoolExecutor(len(config.upstreams)) as pool:
        observed = list(pool.map(observe, config.upstreams))
    findings = [finding for facts in observed for finding in run_checks(FREE_CHECKS, facts, facts.name)]
    try:
        listed = merge_model_lists(models, [_as_list(facts) for facts in observed], 0).chunk
    except ProxyError:
        listed = {}
    entries = tuple(_describe_entries(models, as_dicts(listed.get("data"))))
    return Catalog(", ".join(facts.url for facts in observed), entries, by_urgency(findings))


def _make_mask(config: Config) -> Callable[[str], str]:
    masker = Masker(collect_secrets(config))
    return lambda text: masker.mask_text((), text)


def _refused_listing(url: str, answer: HttpAnswer) -> Finding:
    reason = answer.reason or answer.failure or f"{answer.status} {answer.message}".strip()
    return Finding("proxy.running", Status.FAIL, f"the proxy at {url} lists no models: {reason}", "see its log")


def _as_list(facts: UpstreamFacts) -> Document | ProxyError:
    """Return the models of an upstream as a list, or a failure if it has told none."""
    if not facts.models:
        return UpstreamUnreachable("No list of models was read.")
    return Document.of({"object": "list", "data": [{"id": name, "object": "model"} for name in facts.models]})


def _describe_entries(models: Models[Upstream], entries: Sequence[Json]) -> Iterator[Json]:
    """Yield the entries with their upstream, the other names that it takes, and the model that a pseudo-model is."""
    renamed = {rule.name: rule.upstream_model_name for rule in models.rules if rule.is_pseudo_model}
    for entry in entries:
        name = as_text(entry.get("id"))
        upstream = models.provider_of(name).upstream
        described = {"id": name, "object": "model", "upstream": upstream.name}
        if name in renamed:
            yield {**described, "aliases": [], "upstream_model": renamed[name]}
        else:
            yield {**described, "aliases": [alias for alias in upstream.aliases(name) if alias != name]}
