"""Every setting there is, as data: its names, how it is read, its default and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argoproxy.config.values.parsers import (
    address_rule,
    base_url,
    boolean,
    header_text,
    host_name,
    keys,
    mapping,
    mode,
    names,
    one_of,
    opening_setting,
    origins,
    own_class,
    own_classes,
    plain_url,
    positive,
    renamed_models,
    seconds,
    seconds_or_zero,
    text,
    user_name,
    whole_number,
)
from argoproxy.protocol.routing.modes import Mode
from argoproxy.upstreams.argo.adapter import DEVELOPMENT, ArgoUrls

DEFAULT_TARGET = "https://api.openai.com/v1/"
ARGO_URLS = ArgoUrls()
MIB = 1024 * 1024
WORKER_CLASSES = ("gthread", "gevent", "sync")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key in the file, its name in the environment ("" where it has none), how it is read, and what
    it is for."""

    key: str
    environment: str
    read: Callable[[Any], Any]
    default: Any
    about: str

    @property
    def is_secret(self) -> bool:
        """Whether its value is to be shown to nobody."""
        return self.key.endswith(("_api_key", "_secret"))


SETTINGS = (
    Setting("host", "HOST", host_name, "0.0.0.0", "Address to listen on, or unix:/path/of/a/socket"),
    Setting("port", "PORT", whole_number(1, 65535), 5000, "Port to listen on"),
    Setting("num_workers", "WORKERS", whole_number(1, 1000), 4, "Worker processes"),
    Setting("threads", "THREADS", whole_number(1, 10000), 256, "Requests a gthread worker serves side by side"),
    Setting("worker_class", "WORKER_CLASS", one_of(WORKER_CLASSES), "gthread", "gthread, gevent or sync"),
    Setting("demo", "DEMO", boolean, False, "Serve the embedded demo model: no key, no network"),
    Setting("upstreams", "", mapping, None, "Endpoints by name, the first one being the default: docs/upstreams.md"),
    Setting("target_base_url", "TARGET_BASE_URL", base_url, DEFAULT_TARGET, "The endpoint behind the proxy"),
    Setting(
        "target_api_key", "TARGET_API_KEY", header_text, None, "Key for it; without one the client's key is forwarded"
    ),
    Setting("openai_base_url", "OPENAI_BASE_URL", base_url, None, "The endpoint, where no other is named"),
    Setting("openai_api_key", "OPENAI_API_KEY", header_text, None, "Key for openai_base_url or api.openai.com"),
    Setting("argo_url", "ARGO_URL", plain_url, ARGO_URLS.chat, "The Argo gateway: chats"),
    Setting("argo_stream_url", "ARGO_STREAM_URL", plain_url, ARGO_URLS.stream, "The Argo gateway: streamed chats"),
    Setting("argo_embedding_url", "ARGO_EMBEDDING_URL", plain_url, ARGO_URLS.embed, "The Argo gateway: embeddings"),
    Setting("argo_base_url", "ARGO_BASE_URL", plain_url, None, "Its root (…/argoapi), in place of those three"),
    Setting("user", "ARGO_USER", user_name, None, "Your Argonne user name; alone it names the Argo gateway"),
    Setting("username_passthrough", "USERNAME_PASSTHROUGH", boolean, False, "Make a caller's API key the user"),
    Setting("use_native_openai", "USE_NATIVE_OPENAI", boolean, False, "Pass everything on to Argo's own endpoint"),
    Setting("native_openai_base_url", "NATIVE_OPENAI_BASE_URL", plain_url, f"{DEVELOPMENT}/v1/", "That endpoint"),
    Setting("enable_auth", "ENABLE_AUTH", boolean, False, "Serve only who sends one of the keys"),
    Setting("api_key_secret", "API_KEY_SECRET", keys, None, "Those keys, by commas, each alone or as name=key"),
    Setting("allowed_models", "ALLOWED_MODELS", names, None, "Models that may be asked for: names and patterns"),
    Setting(
        "allow_unknown_routes", "ALLOW_UNKNOWN_ROUTES", boolean, False, "Forward what names no model, all the same"
    ),
    Setting("cors_origins", "CORS_ORIGINS", origins, None, "Web pages that may use the proxy: origins, or *"),
    Setting("authenticate", "", own_class, None, "A class that names the caller, in place of keys"),
    Setting("listeners", "", own_classes, None, "Classes that are told the outcome of every request"),
    Setting("metrics_open", "METRICS_OPEN", boolean, False, "Serve /metrics without a key"),
    Setting(
        "mode",
        "MODE",
        mode,
        Mode.OFF.value,
        "How upstreams are asked: stream, non_stream, off",
    ),
    Setting("ask_usage", "ASK_USAGE", boolean, False, "Ask every stream for its tokens, for logs and metrics"),
    Setting("model_map", "MODEL_MAP", renamed_models, None, "Other names for DashScope's models: gpt-4=qwen-max,…"),
    Setting("default_model", "DEFAULT_MODEL", text, None, "The model of requests that name none"),
    Setting("answer_model", "ANSWER_MODEL", one_of(("upstream", "asked")), "upstream", "The model that answers name"),
    Setting("models", "", mapping, None, "Rules for models, by name or pattern: docs/models.md"),
    Setting("llm_params", "LLM_PARAMS", text, None, "Settings for models: model=name,parameter=value;model=…"),
    Setting("inline_images", "INLINE_IMAGES", boolean, None, "Fetch image URLs in messages; unset: for Argo only"),
    Setting("image_timeout", "IMAGE_TIMEOUT", seconds, 30.0, "Seconds an image may take"),
    Setting("concurrent_downloads", "CONCURRENT_DOWNLOADS", whole_number(1, 100), 10, "Images fetched side by side"),
    Setting("image_on_error", "IMAGE_ON_ERROR", one_of(("refuse", "keep")), "refuse", "What a failed image means"),
    Setting("image_allow_private", "IMAGE_ALLOW_PRIVATE", address_rule, "false", "true, or addresses[:port] by commas"),
    Setting("enable_payload_control", "ENABLE_PAYLOAD_CONTROL", boolean, False, "Make images smaller where needed"),
    Setting("max_payload_size", "MAX_PAYLOAD_SIZE", positive, 20, "MiB that all images of a request may have then"),
    Setting("think_filter", "THINK_FILTER", boolean, True, "Remove thoughts from answers"),
    Setting("think_tag", "THINK_TAG", text, "<think>", "What opens a thought"),
    Setting("think_end_tag", "THINK_END_TAG", text, "</think>", "What closes it"),
    Setting(
        "think_starts_open",
        "THINK_STARTS_OPEN",
        opening_setting,
        False,
        "Whether answers start inside a thought: true, false, or auto, as a closing tag that comes first tells",
    ),
    Setting("timeout", "API_REQUEST_TIMEOUT", seconds, 600.0, "Sets first_byte_timeout and idle_timeout together"),
    Setting("connect_timeout", "CONNECT_TIMEOUT", seconds, 10.0, "Seconds to connect to the upstream"),
    Setting("first_byte_timeout", "FIRST_BYTE_TIMEOUT", seconds, 600.0, "Seconds until it begins to answer"),
    Setting("idle_timeout", "IDLE_TIMEOUT", seconds, 600.0, "Seconds it may be silent after that"),
    Setting("total_timeout", "TOTAL_TIMEOUT", seconds, None, "Seconds an answer may take in all; no limit if unset"),
    Setting(
        "heartbeat", "HEARTBEAT", seconds_or_zero, 15.0, "Seconds of silence before a stream gets a comment; 0: off"
    ),
    Setting("early_heartbeat", "EARLY_HEARTBEAT", boolean, False, "Such comments before an upstream answers, too"),
    Setting(
        "client_header_timeout", "CLIENT_HEADER_TIMEOUT", seconds, 30.0, "Seconds a client may take to send a head"
    ),
    Setting(
        "client_body_timeout", "CLIENT_BODY_TIMEOUT", seconds, 30.0, "Seconds a client may pause while it sends a body"
    ),
    Setting("max_body_size", "MAX_BODY_SIZE", positive, 32, "MiB that a JSON body may have where it is read"),
    Setting(
        "client_write_timeout",
        "CLIENT_WRITE_TIMEOUT",
        seconds_or_zero,
        60.0,
        "Seconds after which a client that takes nothing is given up; 0: never",
    ),
    Setting("drain_delay", "DRAIN_DELAY", seconds_or_zero, 0.0, "Seconds in which /health says 503 before a stop"),
    Setting("graceful_timeout", "GRACEFUL_TIMEOUT", seconds, 30.0, "Seconds that requests have to end at a stop"),
    Setting(
        "skip_url_validation",
        "SKIP_URL_VALIDATION",
        boolean,
        False,
        "Do not look, once at the start, whether the endpoints answer",
    ),
    Setting("compatible", "COMPATIBLE", boolean, False, "Tell errors under the status 200"),
    Setting("output_path", "OUTPUT_PATH", text, None, "Folder of the journal: every request, and what became of it"),
    Setting("journal_bodies", "JOURNAL_BODIES", one_of(("full", "meta")), "full", "What of bodies stands in it"),
    Setting("journal_max_bytes", "JOURNAL_MAX_BYTES", whole_number(4096, 10**9), 100 * MIB, "Size of each file of it"),
    Setting("journal_files", "JOURNAL_FILES", whole_number(1, 1000), 5, "How many full files of each are kept"),
    Setting("verbose", "VERBOSE", boolean, True, "Log a line for each request"),
    Setting("debug", "DEBUG", boolean, False, "Log what happens on the way, never bodies or keys"),
)

#: Keys of later argo-proxy files that do nothing here, and why.
IGNORED = {
    "config_version": "there is one kind of file",
    "real_stream": "streams are passed on as they come",
    "pseudo_stream": "streams are passed on as they come",
    "use_legacy_argo": "`use_native_openai` chooses between the gateway's own endpoints and its OpenAI-compatible one",
    "force_conversion": "every request goes up in the words of its endpoint",
    "dev_mode": "`argo_base_url` chooses between development and production",
    "collect_leaked_logs": "answers are not repaired",
    "no_banner": "`verbose: false` logs warnings only",
    "use_native_anthropic": "requests go to the gateway's own endpoints",
    "native_anthropic_base_url": "requests go to the gateway's own endpoints",
    "anthropic_stream_mode": "requests go to the gateway's own endpoints",
    "tool_prompt": "tools go up as tools",
    "provider_tool_format": "tools go up in the shape of the model's family",
    "enable_leaked_tool_fix": "answers are not repaired",
    "resolve_overrides": "names are resolved by the system",
    "connection_test_timeout": "the check at the start takes five seconds at most",
    "socket": "it listens on a port",
    "logging_level": "`debug: true` logs more, `verbose: false` less",
    "log_to_file": "the log goes to standard error",
    "max_log_history": "the log goes to standard error",
    "model_refresh_interval_hours": "the list of models is asked for when it is wanted",
    "dump_requests": "bodies are never written",
    "dump_dir": "bodies are never written",
}
