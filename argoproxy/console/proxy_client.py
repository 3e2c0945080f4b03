"""What the console asks the proxy for, as a client would: a chat that its user tries, and the list of models."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from argoproxy.config.config import Config
from argoproxy.errors import BadRequest, UpstreamUnreachable
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_text, dumps, loads
from argoproxy.server.banner import own_url

#: The paths that a chat may be sent to.
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
#: How long the proxy may be silent: its own time-outs end a chat before.
CHAT_PATIENCE_S = 900.0
LIST_PATIENCE_S = 5.0
PIECE_BYTES = 64 * 1024
LONGEST_LIST = 4 * 1024 * 1024
#: How long a list of models is believed.
KEEP_LIST_S = 60.0
#: Headers of an answer that the page may see.
_SHOWN_HEADERS = ("content-type", "x-logging-id", "x-request-id", "retry-after")


@dataclass(frozen=True, slots=True)
class ForwardedChat:
    """A chat as the page asks for it: the path, the body, and a key, "" for one of the settings."""

    path: str
    body: Json
    key: str = ""

    @classmethod
    def parse(cls, document: Any) -> ForwardedChat:
        """Return the chat of `{"path": …, "body": {…}, "key": …}`. Raises BadRequest."""
        fields = as_dict(document)
        path, body, key = fields.get("path", PATHS[0]), fields.get("body"), fields.get("key", "")
        if path not in PATHS:
            raise BadRequest(f"`path` must be one of {', '.join(PATHS)}.", param="path")
        if not isinstance(body, dict):
            raise BadRequest("`body` must be a JSON object.", param="body")
        if not isinstance(key, str) or not key.isprintable() or not key.isascii():
            raise BadRequest("`key` must be a text of printable ASCII.", param="key")
        return cls(path, body, key)


class BodyPieces:
    """A body as it arrives; one that breaks off just ends, as the proxy's log says. Closing it ends the request."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._connection, self._response = connection, response

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = self._response.read1(PIECE_BYTES)
        except (OSError, HTTPException):
            piece = b""
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Close the connection to the proxy."""
        self._response.close()
        self._connection.close()


@dataclass(frozen=True, slots=True)
class ForwardedAnswer:
    """The proxy's answer. The pieces of its body come as they arrive; closing them ends the request."""

    status: int
    headers: Headers
    pieces: BodyPieces


def forward_chat(config: Config, chat: ForwardedChat) -> ForwardedAnswer:
    """Send a chat to the running proxy of these settings, and return its answer. Raises UpstreamUnreachable."""
    connection = _connect(config, CHAT_PATIENCE_S)
    headers = {"Content-Type": "application/json", **_authorization(chat.key or config.own_key)}
    response = _send(connection, "POST", chat.path, dumps(chat.body), headers)
    shown = tuple((name, value) for name, value in response.getheaders() if name.lower() in _SHOWN_HEADERS)
    return ForwardedAnswer(response.status, shown, BodyPieces(connection, response))


def list_models(config: Config) -> Sequence[str]:
    """Return the names of the models that the running proxy lists; none if it can't be asked."""
    try:
        connection = _connect(config, LIST_PATIENCE_S)
        response = _send(connection, "GET", "/v1/models", None, _authorization(config.own_key))
    except UpstreamUnreachable:
        return ()
    try:
        listed = loads(response.read(LONGEST_LIST))
    except (OSError, HTTPException, JsonError):
        return ()
    finally:
        connection.close()
    return [name for entry in as_dicts(as_dict(listed).get("data")) if (name := as_text(entry.get("id")))]


class ModelNames:
    """The models that the proxy lists, asked for in the background: no view waits for an upstream."""

    def __init__(
        self,
        ask: Callable[[Config], Sequence[str]] = list_models,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._names: Sequence[str] = ()
        self._asked_at = float("-inf")

    def names(self, config: Config) -> Sequence[str]:
        """Return the names that are known, and ask again if that was long ago."""
        with self._lock:
            if self._clock() - self._asked_at >= KEEP_LIST_S:
                self._asked_at = self._clock()
                threading.Thread(target=self._refresh, args=(config,), name="models", daemon=True).start()
            return self._names

    def _refresh(self, config: Config) -> None:
        names = self._ask(config)
        with self._lock:
            self._names = names or self._names


def _connect(config: Config, patience_s: float) -> HTTPConnection:
    url = own_url(config)
    if not url:
        raise UpstreamUnreachable("The proxy listens at a Unix socket, where the console can't ask it.")
    parts = urlsplit(url)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=patience_s)


def _authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _send(
    connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> HTTPResponse:
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse()
    except (OSError, HTTPException):
        connection.close()
        raise UpstreamUnreachable("The proxy can't be reached: it does not run, or is busy.") from None
