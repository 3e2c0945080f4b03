"""Every setting there is, as data: its names, how it is read, its default and what it is for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.auth import Key
from argoproxy.protocol.llm_params import BOOLEANS
from argoproxy.protocol.secrets import Secret
from argoproxy.upstreams.argo.gateway import DEVELOPMENT, ArgoUrls
from argoproxy.upstreams.base_url import BaseUrl

DEFAULT_TARGET = "https://api.openai.com/v1/"
ARGO_URLS = ArgoUrls()
WORKER_CLASSES = ("gthread", "gevent", "sync")
LONGEST_S = 1_000_000.0

_NAME = re.compile(r"[A-Za-z0-9._@-]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNIT_S = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key in the file, its name in the environment, how it is read, and what it is for."""

    key: str
    environment: str
    read: Callable[[Any], Any]
    default: Any
    about: str

    @property
    def is_secret(self) -> bool:
        """Whether its value is to be shown to nobody."""
        return self.key.endswith(("_api_key", "_secret"))


def text(value: Any) -> str:
    """Read a string that is not empty. Raises ValueError."""
    if isinstance(value, dict | list) or not str(value).strip():
        raise ValueError("is no text")
    return str(value).strip()


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Make a reader of numbers from least to most."""

    def read(value: Any) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return int(digits)

    return read


def boolean(value: Any) -> bool:
    """Read true/false, 1/0, yes/no, on/off. Raises ValueError."""
    if str(value).strip().lower() not in BOOLEANS:
        raise ValueError("is neither true nor false")
    return BOOLEANS[str(value).strip().lower()]


def seconds(value: Any) -> float:
    """Read a duration: seconds, `90s`, `60000ms`, `10m`, `2h`. Raises ValueError."""
    found = _DURATION.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not found:
        raise ValueError("is no duration; write seconds, 90s or 60000ms")
    duration_s = float(found.group(1)) * _UNIT_S[found.group(2)]
    if not 0 < duration_s <= LONGEST_S:
        raise ValueError(f"must be more than 0 and at most {LONGEST_S:.0f} seconds")
    return duration_s


def seconds_or_zero(value: Any) -> float:
    """Read a duration that 0 turns off. Raises ValueError."""
    return 0.0 if str(value).strip() in ("0", "0s", "0ms", "0.0") else seconds(value)


def one_of(names: Sequence[str]) -> Callable[[Any], str]:
    """Make a reader of one of some names."""

    def read(value: Any) -> str:
        name = text(value)
        if name not in names:
            raise ValueError(f"is none of {', '.join(names)}{suggestion(name, names)}")
        return name

    return read


def header_text(value: Any) -> str:
    """Read a string that can stand in a header. Raises ValueError."""
    key = text(value)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("holds a blank or a character that no header can hold")
    return key


def base_url(value: Any) -> str:
    """Read the base URL of an upstream. Raises ValueError."""
    url = text(value)
    try:
        BaseUrl.parse(url)
    except ValueError as error:
        hint = f'; did you mean "http://{url}"?' if "://" not in url else ""
        raise ValueError(f"is no base URL: {error}{hint}") from None
    return url


def keys(value: Any) -> tuple[Key, ...]:
    """Read keys: a text of them by commas, a list, or a mapping of their names. Raises ValueError."""
    if isinstance(value, dict):
        pairs = [(str(name), str(key)) for name, key in value.items()]
    else:
        pieces = [piece.strip() for piece in (map(str, value) if isinstance(value, list) else text(value).split(","))]
        pairs = [_named(piece, number) for number, piece in enumerate(filter(None, pieces), 1)]
    read = tuple(Key(name, Secret(header_text(key))) for name, key in pairs)
    if not read or len({key.name for key in read}) < len(read) or len({key.secret.text for key in read}) < len(read):
        raise ValueError("holds no key, or one name or key twice")
    return read


def names(value: Any) -> tuple[str, ...]:
    """Read names by commas, or a list of them. Raises ValueError."""
    pieces = [str(piece).strip() for piece in (value if isinstance(value, list) else text(value).split(","))]
    if not any(pieces):
        raise ValueError("holds no name")
    return tuple(filter(None, pieces))


def _named(piece: str, number: int) -> tuple[str, str]:
    name, equals, key = piece.partition("=")
    return (name.strip(), key.strip()) if equals and _NAME.fullmatch(name.strip()) and key else (f"key-{number}", piece)


def positive(value: Any) -> float:
    """Read a number greater than 0. Raises ValueError."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}(\.\d+)?", str(value).strip()) or float(value) <= 0:
        raise ValueError("is no number greater than 0")
    return float(value)


def address_rule(value: Any) -> str:
    """Read `true`, `false` or a list of addresses. Raises ValueError."""
    written = ",".join(map(str, value)) if isinstance(value, list) else text(value).lower()
    if written in BOOLEANS:
        return str(BOOLEANS[written]).lower()
    try:
        AddressRule.parse(written)
    except ValueError:
        raise ValueError("is neither true nor false nor a list of addresses, each with a port or without") from None
    return written


def plain_url(value: Any) -> str:
    """Read a URL that is one and no more: without credentials, a query or a fragment. Raises ValueError."""
    url = base_url(value)
    if re.search(r"[\s?#]|//[^/]*@", url):
        raise ValueError("holds credentials, a query, a fragment or a blank, none of which belongs there")
    return url


def host_name(value: Any) -> str:
    """Read an address or a name to listen on. Raises ValueError."""
    name = text(value)
    if not re.fullmatch(r"[\w.:-]+", name):
        raise ValueError("is no address")
    return name


def user_name(value: Any) -> str:
    """Read the name of an Argonne user. Raises ValueError."""
    name = text(value) if isinstance(value, str) else ""
    if not name:
        raise ValueError("is no text; write it in quotes")
    if re.search(r"\s", name):
        raise ValueError("holds a blank")
    if not re.fullmatch(r"[A-Za-z0-9._@+-]+", name):
        raise ValueError("holds a character that no user name has")
    if name.lower() == "cels":
        raise ValueError("is no user of its own; take your own user name")
    return name


SETTINGS = (
    Setting("host", "HOST", host_name, "0.0.0.0", "Address to listen on"),
    Setting("port", "PORT", whole_number(1, 65535), 5000, "Port to listen on"),
    Setting("num_workers", "WORKERS", whole_number(1, 1000), 4, "Worker processes"),
    Setting("threads", "THREADS", whole_number(1, 10000), 256, "Requests a gthread worker serves side by side"),
    Setting("worker_class", "WORKER_CLASS", one_of(WORKER_CLASSES), "gthread", "gthread, gevent or sync"),
    Setting("demo", "DEMO", boolean, False, "Serve the embedded demo model: no key, no network"),
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
    Setting("metrics_open", "METRICS_OPEN", boolean, False, "Serve /metrics without a key"),
    Setting("default_model", "DEFAULT_MODEL", text, None, "The model of requests that name none"),
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
    Setting("timeout", "API_REQUEST_TIMEOUT", seconds, 600.0, "Sets first_byte_timeout and idle_timeout together"),
    Setting("connect_timeout", "CONNECT_TIMEOUT", seconds, 10.0, "Seconds to connect to the upstream"),
    Setting("first_byte_timeout", "FIRST_BYTE_TIMEOUT", seconds, 600.0, "Seconds until it begins to answer"),
    Setting("idle_timeout", "IDLE_TIMEOUT", seconds, 600.0, "Seconds it may be silent after that"),
    Setting("total_timeout", "TOTAL_TIMEOUT", seconds, None, "Seconds an answer may take in all; no limit if unset"),
    Setting(
        "heartbeat", "HEARTBEAT", seconds_or_zero, 15.0, "Seconds of silence before a stream gets a comment; 0: off"
    ),
    Setting("verbose", "VERBOSE", boolean, True, "Log a line for each request"),
    Setting("debug", "DEBUG", boolean, False, "Log what happens on the way, never bodies or keys"),
)

#: Keys of later argo-proxy files that do nothing here, and why.
IGNORED = {
    "config_version": "there is one kind of file",
    "real_stream": "streams are passed on as they come",
    "use_native_anthropic": "requests go to the gateway's own endpoints",
    "native_anthropic_base_url": "requests go to the gateway's own endpoints",
    "anthropic_stream_mode": "requests go to the gateway's own endpoints",
    "tool_prompt": "tools go up as tools",
    "provider_tool_format": "tools go up in the shape of the model's family",
    "enable_leaked_tool_fix": "answers are not repaired",
    "resolve_overrides": "names are resolved by the system",
    "skip_url_validation": "no start checks URLs but the first one of ./run_app.sh",
    "connection_test_timeout": "no start checks URLs but the first one of ./run_app.sh",
    "socket": "it listens on a port",
    "logging_level": "`debug: true` logs more, `verbose: false` less",
    "log_to_file": "the log goes to standard error",
    "max_log_history": "the log goes to standard error",
    "model_refresh_interval_hours": "the list of models is asked for when it is wanted",
    "dump_requests": "bodies are never written",
    "dump_dir": "bodies are never written",
}


def suggestion(name: str, names: Sequence[str]) -> str:
    """Give `; did you mean "…"?` for a name that looks like one of the names, else nothing."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
