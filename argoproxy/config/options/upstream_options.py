"""Settings of upstreams, models and what is done with requests and answers on their way; settings.py tells how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.options.declaration import Flag, Names, setting
from argoproxy.config.options.parsers import (
    choice_parser,
    parse_addresses,
    parse_base_url,
    parse_boolean,
    parse_header_text,
    parse_mapping,
    parse_mode,
    parse_opening_setting,
    parse_plain_url,
    parse_positive,
    parse_renamed_models,
    parse_responses,
    parse_seconds,
    parse_seconds_or_zero,
    parse_text,
    parse_user,
    whole_number_parser,
)
from argoproxy.protocol.routing.modes import Mode
from argoproxy.upstreams.argo.adapter import DEVELOPMENT, ArgoUrls
from argoproxy.upstreams.openai import ResponsesApi

DEFAULT_TARGET = "https://api.openai.com/v1/"
ARGO_URLS = ArgoUrls()
#: Variables that name a CA bundle; the first one that is set counts.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """Which upstream answers"""

    demo: bool = setting(
        parse_boolean,
        False,
        "Serve the built-in demo model: no key and no network are needed",
        Names(flags=(Flag(("--demo",)),)),
    )
    upstreams: Mapping[str, Any] | None = setting(
        parse_mapping,
        None,
        "Several upstreams by name; the first one is the default",
        Names(environment=""),
        "upstreams.md",
    )
    target_base_url: str = setting(
        parse_base_url,
        DEFAULT_TARGET,
        "Base URL of the upstream",
        Names(flags=(Flag(("--url",), "URL"),)),
    )
    target_api_key: str | None = setting(
        parse_header_text,
        None,
        "API key for target_base_url; if unset, the client's key is forwarded",
    )
    openai_base_url: str | None = setting(
        parse_base_url, None, "Base URL of the upstream if no other setting names one"
    )
    openai_api_key: str | None = setting(
        parse_header_text,
        None,
        "API key for openai_base_url or api.openai.com; never sent to target_base_url",
    )
    model_map: Mapping[str, str] | None = setting(
        parse_renamed_models, None, "Names of models for a DashScope upstream: gpt-4=qwen-max,…", page="dashscope.md"
    )
    mode: Mode = setting(
        parse_mode,
        Mode.OFF,
        "Whether upstreams are asked for a stream: stream, non_stream, or off (as the client asks)",
        Names(flags=(Flag(("--mode",), "MODE"),)),
        "modes.md",
    )
    responses: ResponsesApi = setting(
        parse_responses,
        ResponsesApi.AUTO,
        "Requests for the Responses API: forward them, convert them to chats, or auto (forward where it is served)",
        page="responses.md",
    )
    ask_usage: bool = setting(
        parse_boolean, False, "Ask for token counts in every stream, for logs and metrics", page="modes.md"
    )


@dataclass(frozen=True, slots=True)
class PriceOptions:
    """Prices"""

    prices: Mapping[str, Any] | None = setting(
        parse_mapping,
        None,
        "Prices of a million tokens, by name or pattern of the model",
        Names(environment=""),
        "prices.md",
    )
    usage_cost: bool = setting(
        parse_boolean, False, "Tell clients what an answer costs, as `cost` in its usage", page="prices.md#for-clients"
    )


@dataclass(frozen=True, slots=True)
class ArgoOptions:
    """The Argo gateway"""

    section: ClassVar[str] = "argo"

    user: str | None = setting(
        parse_user,
        None,
        "Your Argonne user name; if no other upstream is set, this alone selects the Argo gateway",
        Names("user", "ARGO_USER"),
        "argo.md",
    )
    base_url: str | None = setting(
        parse_plain_url, None, "Root of the gateway (…/argoapi), from which its three URLs follow"
    )
    chat_url: str = setting(parse_plain_url, ARGO_URLS.chat, "URL for chats", Names("argo_url"))
    stream_url: str = setting(parse_plain_url, ARGO_URLS.stream, "URL for streamed chats")
    embedding_url: str = setting(parse_plain_url, ARGO_URLS.embed, "URL for embeddings")
    username_passthrough: bool = setting(
        parse_boolean,
        False,
        "Use the API key that a client sends as the user name",
        Names("username_passthrough", flags=(Flag(("--username-passthrough",)),)),
        "argo.md",
    )
    native: bool = setting(
        parse_boolean,
        False,
        "Pass requests on, unchanged, to the gateway's OpenAI-compatible endpoint",
        Names("use_native_openai", flags=(Flag(("--native-openai",)),)),
        "native.md",
    )
    native_base_url: str = setting(
        parse_plain_url, f"{DEVELOPMENT}/v1/", "Base URL of that endpoint", Names("native_openai_base_url")
    )


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Models"""

    models: Mapping[str, Any] | None = setting(
        parse_mapping,
        None,
        "Rules for models, by name or pattern: upstream, name there, parameters",
        Names(environment=""),
        "models.md",
    )
    llm_params: str | None = setting(
        parse_text,
        None,
        "Rules for models as one text: model=name,parameter=value;model=…",
        page="models.md",
    )
    default_model: str | None = setting(parse_text, None, "Model of requests that name none")
    answer_model: str = setting(
        choice_parser(("upstream", "asked")),
        "upstream",
        "Model name in responses: the upstream's, or the one that was asked for",
        page="models.md",
    )


@dataclass(frozen=True, slots=True)
class ThinkingOptions:
    """Thoughts in answers"""

    section: ClassVar[str] = "thinking"

    filter: bool = setting(parse_boolean, True, "Remove thoughts from answers", Names("think_filter"), "thoughts.md")
    tag: str = setting(parse_text, "<think>", "Tag before a thought", Names("think_tag"))
    end_tag: str = setting(parse_text, "</think>", "Tag after a thought", Names("think_end_tag"))
    starts_open: bool | str = setting(
        parse_opening_setting,
        False,
        "Whether answers start inside a thought, without the first tag: true, false, or auto: if a closing tag comes "
        "first (then up to 4096 characters are held back)",
        Names("think_starts_open"),
        "thoughts.md#when-the-opening-tag-is-missing",
    )


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Images in messages"""

    section: ClassVar[str] = "images"

    inline: bool | None = setting(
        parse_boolean,
        None,
        "Download images and send them as data URLs; if unset, for Argo only",
        Names("inline_images"),
        "images.md",
    )
    timeout: float = setting(parse_seconds, 30.0, "Seconds that a download may take", Names("image_timeout"))
    concurrent_downloads: int = setting(
        whole_number_parser(1, 100), 10, "Downloads at the same time", Names("concurrent_downloads")
    )
    on_error: str = setting(
        choice_parser(("refuse", "keep")),
        "refuse",
        "If an image cannot be used: refuse the request, or keep the URL",
        Names("image_on_error"),
    )
    allow_private: str = setting(
        parse_addresses,
        "false",
        "Whether addresses that are not public may be asked: true, false, or a list of address[:port]",
        Names("image_allow_private"),
    )
    shrink_to: float | None = setting(
        parse_positive,
        None,
        "MiB (before base64) to which all images of a request are reduced; if unset, they are not changed",
        Names("image_shrink_to"),
        "images.md",
    )


@dataclass(frozen=True, slots=True)
class TimeoutOptions:
    """Time-outs and heartbeats"""

    timeout: float = setting(
        parse_seconds,
        600.0,
        "Seconds until the first byte, and between bytes: sets first_byte_timeout and idle_timeout",
        Names(
            environment="API_REQUEST_TIMEOUT",
            flags=(Flag(("--timeout",), "MS", unit="ms", about="milliseconds to the first byte, and between bytes"),),
        ),
        "errors.md",
    )
    connect_timeout: float = setting(
        parse_seconds, 10.0, "Seconds to connect to the upstream; unless set, never longer than timeout"
    )
    first_byte_timeout: float = setting(parse_seconds, 600.0, "Seconds until the upstream begins to answer")
    idle_timeout: float = setting(parse_seconds, 600.0, "Seconds without data after that")
    total_timeout: float | None = setting(parse_seconds, None, "Seconds for a whole answer; no limit if unset")
    heartbeat: float = setting(
        parse_seconds_or_zero, 15.0, "Seconds without data after which a stream gets a comment; 0: never"
    )
    early_heartbeat: bool = setting(
        parse_boolean, False, "Send such comments also before the upstream answers", page="errors.md#heartbeats"
    )
