"""Which upstream answers by default: a table of rows, of which the strongest one that is named wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from argoproxy.config.derived import argo_urls
from argoproxy.config.kinds.argo_kind import ArgoTarget, NativeTarget
from argoproxy.config.kinds.dashscope_kind import DashScopeTarget
from argoproxy.config.kinds.demo_kind import DemoTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.kinds.target import Target, UpstreamDefaults, UpstreamSettings, refuse_itself
from argoproxy.config.options.parsers import is_placeholder
from argoproxy.config.options.upstream_options import DEFAULT_TARGET
from argoproxy.config.upstreams import read_upstreams
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.settings import BY_KEY
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.routing.call import Identity
from argoproxy.protocol.routing.route import Credentials
from argoproxy.upstreams.access import Access
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope.adapter import DashScopeUrls

#: In the path of a URL of DashScope's native protocol.
DASHSCOPE_PATH = "/api/v1/services/aigc/"


@dataclass(frozen=True, slots=True)
class Row:
    """A way to name the default upstream: by any of these `keys`. If several rows are named, the one in the strongest
    layer wins; in the same layer, the one that comes first in the table.

    A row that loses is a warning, unless the winner uses its keys too (`used_by`). A weak row yields to all others,
    in whatever layer they are. `build` makes the target; None for those of the section `upstreams`."""

    name: str
    keys: tuple[str, ...]
    build: Callable[[ConfigValues], Target | None]
    used_by: frozenset[str] = frozenset()
    is_weak: bool = False

    def key(self, values: ConfigValues) -> str:
        """Return the key that names this row, in the strongest layer; "" if none does."""
        return min((key for key in self.keys if values.is_enabled(key)), key=values.precedence, default="")


def resolve_upstreams(
    values: ConfigValues, defaults: UpstreamDefaults
) -> tuple[tuple[UpstreamSettings, ...], UpstreamSettings | None]:
    """Return all upstreams, the default one first, and the Argo gateway if there is one. Mistakes are added to those of
    the values."""
    target = pick_target(values)
    if target is None:
        upstreams = read_upstreams(values, defaults)
        return upstreams, next((one for one in upstreams if isinstance(one.target, ArgoTarget)), None)
    upstream = _only_upstream(target, defaults)
    if isinstance(target, NativeTarget) and target.gateway:
        return (upstream,), _only_upstream(target.gateway, defaults)
    return (upstream,), upstream if isinstance(target, ArgoTarget) else None


def pick_target(values: ConfigValues) -> Target | None:
    """Return the target of the row that wins; None for the section `upstreams`. Rows that lose
    are warnings; mistakes are added to those of the values."""
    rows = rank_rows(values)
    if not rows:
        return _build_openai(values)
    winner, *losers = rows
    names = {row.name for row in rows}
    for row in losers:
        # `user` belongs to the Argo gateway: where that loses too, one warning is enough.
        if winner.name not in row.used_by and not (row.name == "user" and "argo" in names):
            loser, stronger = values.describe(row.key(values)), values.describe(winner.key(values))
            values.warnings.append(f"{loser} is not used: {stronger} takes precedence")
    return winner.build(values)


def rank_rows(values: ConfigValues) -> Sequence[Row]:
    """Return the rows that are named, the winner first."""
    rows = [row for row in ROWS if row.key(values)]
    return sorted(rows, key=lambda row: (row.is_weak, 0 if row.is_weak else values.precedence(row.key(values))))


def _only_upstream(target: Target, defaults: UpstreamDefaults) -> UpstreamSettings:
    settings = UpstreamSettings(
        name=target.kind,
        target=target,
        timeouts=defaults.timeouts,
        access=Access(ca_bundle=defaults.ca_bundle, proxies=defaults.proxies),
        inline_images=defaults.inlines_images(target),
        mode=defaults.mode,
        usage=defaults.usage,
        resilience=defaults.resilience,
    )
    return replace(settings, credentials=Credentials.DROPPED) if settings.is_keyed else settings


def _build_demo(values: ConfigValues) -> Target:
    return DemoTarget()


def _build_section(values: ConfigValues) -> None:
    """Warn of keys that count for other rows only."""
    for key in ("target_api_key", "openai_api_key", "model_map"):
        if values[key]:
            values.warnings.append(f"{values.describe(key)} is not used: set it for one of the `upstreams`")


def _build_target(values: ConfigValues) -> Target:
    """Return the server at `target_base_url`: DashScope if its path says so."""
    key, url = _server_key("target_api_key", "openai_api_key", values), values["target_base_url"]
    refuse_itself(url, values)
    if DASHSCOPE_PATH in urlsplit(url).path + "/":
        return DashScopeTarget(DashScopeUrls.parse(url), Secret(key), values["model_map"] or {})
    return replace(OpenAITarget.at(url, key), responses=values["responses"])


def _build_openai(values: ConfigValues) -> Target:
    """Return the server at `openai_base_url`, else OpenAI's."""
    key, url = _server_key("openai_api_key", "target_api_key", values), values["openai_base_url"] or DEFAULT_TARGET
    refuse_itself(url, values)
    return replace(OpenAITarget.at(url, key), responses=values["responses"])


def _server_key(own: str, other: str, values: ConfigValues) -> str:
    """Return the API key of a server, "" if none is set; warn if only the key of the other server is set."""
    if values[other] and not values[own]:
        values.warnings.append(
            f"{values.describe(other)} is not sent to this upstream; set {BY_KEY[own].environment} for it"
        )
    key: str = values[own] or ""
    if is_placeholder(key):
        values.mistakes.append(
            f"{values.describe(own)} is still the placeholder of .env.example; set your key, or remove the line to "
            "forward the clients' keys"
        )
    return key


def _build_argo(values: ConfigValues) -> ArgoTarget:
    target = ArgoTarget(argo_urls(values), _identity(values))
    for url in target.urls:
        refuse_itself(url, values)
    if not values["user"] and not values["username_passthrough"]:
        values.mistakes.append(
            "the Argo gateway needs a user: set `user` in the config file or ARGO_USER to your Argonne user name"
        )
    _warn_of_keys(values)
    return target


def _build_native(values: ConfigValues) -> Target:
    """Return Argo's OpenAI-compatible endpoint, with the gateway beside it if a user is known."""
    url, identity = values["native_openai_base_url"], _identity(values)
    refuse_itself(url, values)
    if identity.user or identity.passes_callers:
        return NativeTarget(BaseUrl.parse(url), identity, _build_argo(values))
    _warn_of_keys(values)
    return NativeTarget(BaseUrl.parse(url), identity, None)


def _identity(values: ConfigValues) -> Identity:
    return Identity(values["user"] or "", values["username_passthrough"])


def _warn_of_keys(values: ConfigValues) -> None:
    for key in ("target_api_key", "openai_api_key"):
        if values[key]:
            values.warnings.append(f"{values.describe(key)} is not sent to this upstream: Argo takes no key")


ROWS = (
    Row("demo", ("demo",), _build_demo),
    Row("upstreams", ("upstreams",), _build_section),
    Row("native", ("use_native_openai",), _build_native),
    Row("target", ("target_base_url",), _build_target),
    Row(
        "argo",
        ("argo_url", "argo_stream_url", "argo_embedding_url", "argo_base_url"),
        _build_argo,
        used_by=frozenset(("native",)),
    ),
    Row("user", ("user",), _build_argo, used_by=frozenset(("argo", "native", "upstreams")), is_weak=True),
    Row("openai", ("openai_base_url",), _build_openai, is_weak=True),
)
