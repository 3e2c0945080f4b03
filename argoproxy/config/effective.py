"""Settings that follow from others: the values that count, and the setting each comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from argoproxy.config.values.layers import BY_KEY, Given
from argoproxy.protocol.routing.timeouts import TimeoutOverrides, Timeouts
from argoproxy.upstreams.argo.adapter import ArgoUrls

_ARGO_URLS = {"argo_url": "chat", "argo_stream_url": "stream", "argo_embedding_url": "embed"}
_SET_BY_TIMEOUT = ("first_byte_timeout", "idle_timeout")


def process_timeouts(given: Given) -> Timeouts:
    """Return the time-outs of the process."""
    base = Timeouts(connect_s=BY_KEY["connect_timeout"].default, total_s=given["total_timeout"] or math.inf)
    return base.override(
        TimeoutOverrides(
            connect_s=given["connect_timeout"] if given.is_set("connect_timeout") else None,
            first_byte_s=given[given.stronger("first_byte_timeout", "timeout")],
            idle_s=given[given.stronger("idle_timeout", "timeout")],
            connect_cap_s=given["timeout"],
        )
    )


def argo_urls(given: Given) -> ArgoUrls:
    """Return the URLs of the Argo gateway: each as it is set, else below `argo_base_url`, else the default."""
    root = given["argo_base_url"]
    below = ArgoUrls.below(root) if root else ArgoUrls()
    urls = {
        name: getattr(below, name) if _is_below_root(key, given) else given[key] for key, name in _ARGO_URLS.items()
    }
    return ArgoUrls(**urls)


def derived(given: Given) -> Iterator[tuple[str, object, str]]:
    """Yield each setting whose value follows from another one: (key, value, where that one is set)."""
    timeouts, urls = process_timeouts(given), argo_urls(given)
    if given.is_set("timeout"):
        for key in _SET_BY_TIMEOUT:
            if given.stronger(key, "timeout") != key:
                yield key, given["timeout"], given.origin("timeout")
        if timeouts.connect_s != given["connect_timeout"]:
            yield "connect_timeout", timeouts.connect_s, given.origin("timeout")
    for key, name in _ARGO_URLS.items():
        if _is_below_root(key, given):
            yield key, getattr(urls, name), given.origin("argo_base_url")


def _is_below_root(key: str, given: Given) -> bool:
    return bool(given["argo_base_url"]) and given.stronger(key, "argo_base_url") != key
