"""Settings that follow from others, and the places where those are set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from argoproxy.config.options.server_options import MIB
from argoproxy.config.values.config_values import ConfigValues, Derived
from argoproxy.config.values.settings import BY_KEY
from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.routing.timeouts import TimeoutOverrides, Timeouts
from argoproxy.upstreams.argo.adapter import ArgoUrls

_ARGO_URLS = {"argo_url": "chat", "argo_stream_url": "stream", "argo_embedding_url": "embed"}
_SET_BY_TIMEOUT = ("first_byte_timeout", "idle_timeout")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged: records of this `level` and above, and a line for each request; as JSON objects, if `is_json`."""

    level: str
    requests: bool
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """The folder of the journal, whether bodies are recorded (`full`) or only their sizes (`meta`), the size at which a
    file is put aside, and how many of those are kept."""

    folder: Path
    bodies: str
    max_bytes: int
    files: int


def process_timeouts(values: ConfigValues) -> Timeouts:
    """Return the time-outs of upstreams that set none."""
    base = Timeouts(connect_s=BY_KEY["connect_timeout"].default, total_s=values["total_timeout"] or math.inf)
    return base.override(
        TimeoutOverrides(
            connect_s=values["connect_timeout"] if values.is_set("connect_timeout") else None,
            first_byte_s=values[values.stronger("first_byte_timeout", "timeout")],
            idle_s=values[values.stronger("idle_timeout", "timeout")],
            connect_cap_s=values["timeout"],
        )
    )


def argo_urls(values: ConfigValues) -> ArgoUrls:
    """Return the URLs of the Argo gateway: each as it is set, else below `argo_base_url`, else the default."""
    root = values["argo_base_url"]
    below = ArgoUrls.below(root) if root else ArgoUrls()
    urls = {
        name: getattr(below, name) if _is_below_root(key, values) else values[key] for key, name in _ARGO_URLS.items()
    }
    return ArgoUrls(**urls)


def log_settings(values: ConfigValues) -> LogSettings:
    """Return what is logged. `log_level` counts, unless a stronger layer sets `debug` or `verbose`."""
    is_json = values["log_format"] == "json"
    older = _stronger_than("log_level", ("debug", "verbose"), values)
    if not older:
        return LogSettings(values["log_level"], values["log_level"] != "warning", is_json)
    quiet = "info" if values["verbose"] else "warning"
    return LogSettings("debug" if values["debug"] else quiet, values["verbose"], is_json)


def journal_settings(values: ConfigValues, folder: Path) -> JournalSettings | None:
    """Return how requests are recorded, None if they are not."""
    if not values["output_path"]:
        return None
    return JournalSettings(
        folder=folder / Path(values["output_path"]).expanduser(),
        bodies=values["journal_bodies"],
        max_bytes=values["journal_max_bytes"],
        files=values["journal_files"],
    )


def image_limit_mib(values: ConfigValues) -> float | None:
    """Return to how many MiB images are reduced, None if they are not. `image_shrink_to` counts, unless a stronger
    layer sets `enable_payload_control`."""
    limit: float | None = values["image_shrink_to"]
    if _stronger_than("image_shrink_to", ("enable_payload_control",), values):
        limit = values["max_payload_size"] if values["enable_payload_control"] else None
    return limit


def image_settings(values: ConfigValues) -> ImageSettings:
    """Return what is done with images in messages."""
    limit_mib = image_limit_mib(values)
    return ImageSettings(
        timeout_s=values["image_timeout"],
        concurrency=values["concurrent_downloads"],
        payload_limit=None if limit_mib is None else int(limit_mib * MIB),
        addresses=AddressRule.parse(values["image_allow_private"]),
        keeps_failed=values["image_on_error"] == "keep",
    )


def derived_settings(values: ConfigValues) -> Iterator[Derived]:
    """Yield each setting whose value follows from another one."""
    timeouts, urls = process_timeouts(values), argo_urls(values)
    if values.is_set("timeout"):
        for key in _SET_BY_TIMEOUT:
            if values.stronger(key, "timeout") != key:
                yield key, values["timeout"], _origin("timeout", values)
        if timeouts.connect_s != values["connect_timeout"]:
            yield "connect_timeout", timeouts.connect_s, _origin("timeout", values)
    for key, name in _ARGO_URLS.items():
        if _is_below_root(key, values):
            yield key, getattr(urls, name), _origin("argo_base_url", values)
    if older := _stronger_than("log_level", ("debug", "verbose"), values):
        yield "log_level", log_settings(values).level, _origin(older, values)
    if older := _stronger_than("image_shrink_to", ("enable_payload_control",), values):
        yield "image_shrink_to", image_limit_mib(values), _origin(older, values)


def _stronger_than(key: str, older: tuple[str, ...], values: ConfigValues) -> str:
    """Return the older setting that counts in place of `key`: one that a stronger layer sets; "" if there is none."""
    strongest = min(older, key=values.precedence)
    return strongest if values.precedence(strongest) < values.precedence(key) else ""


def _is_below_root(key: str, values: ConfigValues) -> bool:
    return bool(values["argo_base_url"]) and values.stronger(key, "argo_base_url") != key


def _origin(key: str, values: ConfigValues) -> str:
    return f"{key} ({values.place(key)})"
