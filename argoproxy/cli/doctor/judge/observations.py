"""What is observed before anything is judged: plain data. Times are in milliseconds, unless the name says `_s`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, loads
from argoproxy.protocol.reasoning.policy import ReasoningSettings

_HTML = re.compile(r"\s*(?:<!doctype|<html|<head|<body|<\?xml)", re.IGNORECASE)
#: Statuses of servers that do not have a path, or not with this method.
NO_PATH = (404, 405, 501)
DENIED = (401, 403)


@dataclass(frozen=True, slots=True)
class Place:
    """A setting by the name to change it by, and where it is set: `TARGET_BASE_URL`, `config.yaml, line 3`."""

    name: str = ""
    where: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back for a request: a status, or the `failure`, a code of ProxyError, and its reason. `body` is the
    beginning; `at_s` is this machine's time when the head came."""

    url: str = ""
    status: int = 0
    headers: Headers = ()
    body: str = ""
    failure: str = ""
    reason: str = ""
    ms: float = 0.0
    at_s: float = 0.0

    @property
    def is_html(self) -> bool:
        """Whether this is a web page."""
        return "html" in self.header("content-type") or bool(_HTML.match(self.body))

    @property
    def document(self) -> Json | None:
        """The JSON object in the body, None if there is none."""
        try:
            value = loads(self.body.encode())
        except (JsonError, UnicodeEncodeError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def lists_models(self) -> bool:
        """Whether this is a list of models, in OpenAI's form or Anthropic's."""
        return self.status == 200 and isinstance((self.document or {}).get("data"), list)

    @property
    def message(self) -> str:
        """The message of an error in the usual forms; the beginning of the body where there is none."""
        document = self.document or {}
        error = document.get("error")
        said = as_text(as_dict(error).get("message")) or as_text(error) or as_text(document.get("message"))
        return said or as_text(document.get("detail")) or ("" if self.is_html else self.body.strip())[:200]

    @property
    def skew_s(self) -> float | None:
        """By how much the server's clock is ahead of this machine's; None without a date."""
        try:
            return parsedate_to_datetime(self.header("date")).timestamp() - self.at_s
        except (TypeError, ValueError):
            return None

    def header(self, name: str) -> str:
        """Return a header, "" if it is missing; name in lower case."""
        return get_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Certificate:
    """How TLS went: the version and the days for which the certificate is valid; or OpenSSL's number of what is wrong
    with the certificate, and the reason. `answer` is what the server said where its certificate was not verified."""

    version: str = ""
    days_left: float | None = None
    verify_code: int = 0
    reason: str = ""
    bundle: str = ""
    answer: HttpAnswer = HttpAnswer()


@dataclass(frozen=True, slots=True)
class Network:
    """The way to a server: its addresses or why there are none, and how connecting went. `hop` is the HTTP proxy in
    between, "" if there is none. TLS is not tried through a proxy."""

    host: str
    port: int
    addresses: Sequence[str] = ()
    dns_ms: float = 0.0
    dns_reason: str = ""
    peer: str = ""
    tcp_ms: float = 0.0
    tcp_reason: str = ""
    is_refused: bool = False
    tls: Certificate | None = None
    hop: str = ""

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return not (self.dns_reason or self.tcp_reason or (self.tls and self.tls.reason))


@dataclass(frozen=True, slots=True)
class Chat:
    """A completion: the answer's head, and what its events held. `arrivals` are (seconds since the request, bytes) of
    each read; `is_cut` says that doctor stopped reading, `is_stream` that the server sent events."""

    answer: HttpAnswer = HttpAnswer()
    content: str = ""
    thoughts: Mapping[str, str] = field(default_factory=dict)
    tools: Sequence[str] = ()
    finish: str = ""
    has_usage: bool = False
    is_stream: bool = False
    is_cut: bool = False
    events: int = 0
    arrivals: Sequence[tuple[float, int]] = ()
    problem: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether a completion came."""
        return 200 <= self.answer.status < 300 and not self.problem


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """What was observed of one upstream; None: not asked. `url_place` and `key_place` are the settings of its URL and
    its key, `key` shows the key's length and end. `network` holds one entry for each of its servers.

    `listing` is the answer to the upstream's own probe, `keyless` to the same without a key, `empty_chat` to a chat
    without a body, which no server answers with a completion. `candidates` are other base URLs with their answers.
    `speaks_tls` says that a server behind an `http` URL answers to TLS.
    """

    name: str
    kind: str
    url: str
    url_place: Place = Place()
    key_place: Place = Place()
    key: str = ""
    takes_clients_keys: bool = False
    is_passthrough: bool = False
    is_container: bool = False
    network: Sequence[Network] = ()
    listing: HttpAnswer | None = None
    keyless: HttpAnswer | None = None
    empty_chat: HttpAnswer | None = None
    candidates: Sequence[tuple[str, HttpAnswer]] = ()
    models: Sequence[str] = ()
    named_models: Sequence[str] = ()
    model: str = ""
    whole: Chat | None = None
    stream: Chat | None = None
    tools: Chat | None = None
    surfaces: Mapping[str, HttpAnswer] = field(default_factory=dict)
    speaks_tls: bool = False
    reasoning: ReasoningSettings = ReasoningSettings()
    asks_no_chat: bool = False
    is_stream_off: bool = False
    forwards_responses: bool = False
    chats_sent: int = 0

    def set_option(self, option: str, value: str, variable: str) -> str:
        """Return the line that sets an option of this upstream: in its section, or the variable where it has none."""
        in_section = self.url_place.name.startswith("upstreams.")
        return f"upstreams.{self.name}.{option}: {value}" if in_section else f"{variable}={value}"

    @property
    def has_model_list(self) -> bool:
        """Whether this kind has a list of models that a server serves at `/v1/models`."""
        return self.kind in ("openai", "native", "anthropic")

    @property
    def answers(self) -> Sequence[HttpAnswer]:
        """All answers of the server, in their order."""
        chats = [chat.answer for chat in (self.whole, self.stream, self.tools) if chat]
        asked = (self.listing, self.empty_chat, *chats)
        return [answer for answer in asked if answer and answer.status]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was observed on this machine. `sources` names where settings come from; `holder` is why the port can't be
    opened, `own_pid` the process of this user's proxy at it. Sizes are in MiB; None: unknown. A stop takes
    `drain_s` and then `graceful_s` at most."""

    sources: Sequence[str] = ()
    mistakes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    upstreams: str = ""
    host: str = ""
    port: int = 0
    holder: str = ""
    own_pid: int | None = None
    is_open: bool = False
    keyed: Sequence[str] = ()
    files: int = 0
    files_wanted: int = 0
    memory_mib: float | None = None
    memory_wanted_mib: float = 0.0
    shared_mib: float | None = None
    journal: str = ""
    journal_problem: str = ""
    journal_mib: float | None = None
    journal_wanted_mib: float = 0.0
    proxied: Mapping[str, str] = field(default_factory=dict)
    skews_s: Mapping[str, float] = field(default_factory=dict)
    is_in_kubernetes: bool = False
    drain_s: float = 0.0
    graceful_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What was observed of a running proxy. `stale` names settings that differ from those that it runs with. `direct`
    is the stream of the upstream that was asked without it."""

    url: str
    pid: int | None = None
    live: HttpAnswer | None = None
    health: HttpAnswer | None = None
    version: str = ""
    stale: Sequence[str] = ()
    is_asked: bool = False
    key: str = ""
    models: HttpAnswer | None = None
    chat: Chat | None = None
    model: str = ""
    direct: Chat | None = None
    chats_sent: int = 0
