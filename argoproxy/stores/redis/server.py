"""A Redis or Valkey server, asked within a limited time and never twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from argoproxy.errors import StateUnavailable
from argoproxy.stores.redis.limit_script import LuaScript

#: Connections of a worker: each is used for well under a millisecond.
MOST_CONNECTIONS = 32
_UNREACHABLE = "the Redis server can't be reached"
_BUSY = "too many requests wait for the Redis server"
#: Why it can't be used, by the class of the error: the first one that fits.
_REASONS: Sequence[tuple[type[Exception], str]] = (
    (redis.TimeoutError, "the Redis server does not answer in time"),
    (BusyLoadingError, "the Redis server is loading its data"),
    (AuthenticationError, "the Redis server refuses the password of redis_url"),
    (NoPermissionError, "the Redis server does not permit a command to the user of redis_url"),
    (OutOfMemoryError, "the memory of the Redis server is full"),
    (ReadOnlyError, "the Redis server is a read-only replica"),
    (redis.ConnectionError, _UNREACHABLE),
)
#: The same for errors that have no class, by a part of their text (https://redis.io/docs/latest/develop/reference/).
_WORDS = (
    ("OOM", "the memory of the Redis server is full"),
    ("READONLY", "the Redis server is a read-only replica"),
    ("MISCONF", "the Redis server can't save its data to its disk"),
    ("NOAUTH", "the Redis server wants a password in redis_url"),
    ("unknown command", "the Redis server does not know a command that limits need, such as EVAL"),
)


class RedisServer:
    """The server at a URL. Connections are opened when they are needed, and kept: use it after the fork only."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Wait up to `timeout_s` seconds for a connection, and as long for an answer. Raises ValueError if the URL is
        malformed."""
        # Without any further attempts: redis-py makes ten, which takes up to a minute with a server that is frozen.
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MOST_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )
        self._client = redis.Redis(connection_pool=pool)
        self._digests: dict[LuaScript, str] = {}
        self._timeout_s, self._places = timeout_s, threading.BoundedSemaphore(MOST_CONNECTIONS)
        #: When the server could not be used last, and why.
        self._failure: tuple[float, str] | None = None

    def run(self, script: LuaScript, key: str, arguments: Sequence[str | int]) -> Any:
        """Run a script and return its answer. Raises StateUnavailable."""
        digest = self._digests.get(script) or self._digests.setdefault(script, script.digest)
        with self._one_of_few():
            try:
                return self._client.evalsha(digest, 1, key, *arguments)
            except NoScriptError:  # not SCRIPT LOAD, which a server may not permit
                return self._client.eval(script.text, 1, key, *arguments)

    def execute(self, *command: str | int | bytes) -> Any:
        """Return the answer to a command. Raises StateUnavailable."""
        with self._one_of_few():
            return self._client.execute_command(*command)

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        """Wait until there are connections to spare. Who has waited while others found the server in trouble does not
        wait for it once more. Raises StateUnavailable, also for errors inside."""
        begun = time.monotonic()
        if not self._places.acquire(timeout=self._timeout_s):
            raise _unavailable(_BUSY)
        try:
            if self._failure is not None and self._failure[0] >= begun:
                raise _unavailable(self._failure[1])
            yield
        except (RedisError, OSError) as error:
            reason = reason_of(error)
            self._failure = (time.monotonic(), reason)
            raise _unavailable(reason) from error
        finally:
            self._places.release()

    def close(self) -> None:
        """Close all connections; they are opened again when they are needed."""
        self._client.connection_pool.disconnect()


def reason_of(error: Exception) -> str:
    """Return why the server can't be used, in words for operators: neither its address nor its own text."""
    found = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
    if found is None and isinstance(error, ResponseError):
        found = next((reason for word, reason in _WORDS if word in str(error)), "the Redis server reports an error")
    return found or _UNREACHABLE


def _unavailable(reason: str) -> StateUnavailable:
    return StateUnavailable(f"The limits can't be checked now: {reason}.")
