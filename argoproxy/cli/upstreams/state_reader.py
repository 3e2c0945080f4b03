"""Ask the running proxy for the states of its upstreams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing

from argoproxy.cli.doctor.judge.observations import HttpAnswer
from argoproxy.cli.doctor.observe.sender import Sender
from argoproxy.config.config import Config
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.server.banner import own_url
from argoproxy.transport.transport import Transport
from argoproxy.upstreams import UpstreamRequest
from argoproxy.web.upstream_factory import collect_secrets

#: Statuses of a proxy that wants another key for its metrics, or has none: then its /health has less of the same.
_WITHOUT_METRICS = (401, 403, 503)


class StatesUnavailable(Exception):
    """No proxy told the states of its upstreams; the message is for the user."""


def read_states(config: Config) -> tuple[str, Mapping[str, Json]]:
    """Return the URL of the proxy of these settings, and the states of its upstreams by their names. Raises
    StatesUnavailable."""
    url = own_url(config)
    if not url:
        raise StatesUnavailable(f"{config.server.host} is a Unix socket; ask there: curl --unix-socket … /health")
    masker = Masker(collect_secrets(config))
    key = config.own_key
    credentials: Headers = (("Authorization", f"Bearer {key}"),) if key else ()
    with closing(Sender(Transport(1, math.inf), lambda text: masker.mask_text((), text))) as sender:
        answer = sender.ask(_request(url, "/metrics", credentials))
        if answer.failure:
            raise StatesUnavailable(f"No proxy answers at {url}: {answer.reason or answer.failure}")
        states = _states_of_metrics(answer)
        if not states and answer.status in _WITHOUT_METRICS:
            states = _states_of_health(sender.ask(_request(url, "/health")))
    if not states:
        raise StatesUnavailable(_explain(url, answer))
    return url, states


def _request(url: str, path: str, credentials: Headers = ()) -> UpstreamRequest:
    return UpstreamRequest("GET", url + path, (("Accept", "application/json"), *credentials))


def _states_of_metrics(answer: HttpAnswer) -> Mapping[str, Json]:
    states = as_dict((answer.document or {}).get("upstreams"))
    return {name: as_dict(state) for name, state in states.items() if "state" in as_dict(state)}


def _states_of_health(answer: HttpAnswer) -> Mapping[str, Json]:
    """Return the states without the names of models: /health needs no key."""
    document = answer.document or {}
    targets = as_dicts(document.get("upstreams")) or [as_dict(document.get("target"))]
    return {as_text(target.get("name")): target for target in targets if "state" in target}


def _explain(url: str, answer: HttpAnswer) -> str:
    reason = f"{answer.status} {answer.message}".strip()
    if answer.status in _WITHOUT_METRICS:
        return f"The proxy at {url} does not tell the states of its upstreams: {reason}"
    return f"What answers at {url} is not argoproxy, or another version of it: {reason}"
