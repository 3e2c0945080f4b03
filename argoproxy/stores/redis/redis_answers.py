"""An AnswerStore in a Redis server, for the workers of several hosts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.cache.kept_answer import KeptAnswer, decompress_answer
from argoproxy.stores.answers.answer_store import StoredAnswer
from argoproxy.stores.redis.limit_script import LuaScript
from argoproxy.stores.redis.redis_limits import ScriptServer

logger = logging.getLogger("argoproxy")

#: Answers are kept for no longer: a server whose memory is full removes first what ends soonest, and that must not be
#: a counter, which is kept for two days.
LONGEST_KEPT_S = 24 * 3600.0
#: Compressed bytes of an answer: larger ones would hold up the limits, which the same server counts.
MOST_BYTES = 1024 * 1024
#: How long a server that can't be used is left alone.
PAUSE_S = 5.0

#: The answer, and the milliseconds that are left of its time: clocks of hosts differ.
_READ = LuaScript("return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}")


class RedisAnswers:
    """Answers below a prefix. A server in trouble has none."""

    def __init__(self, server: ScriptServer, prefix: str, pause_s: float = PAUSE_S) -> None:
        """After an error the server is left alone for `pause_s` seconds."""
        self._server, self._pause_s = server, pause_s
        self._prefix = f"{{{prefix}}}:answer:"
        self._lock = threading.Lock()
        self._paused_until, self._is_up = 0.0, True

    def read(self, key: bytes) -> StoredAnswer | None:
        """See AnswerStore."""
        found = self._ask(lambda: self._server.run(_READ, self._name(key), ()))
        value, left_ms = found or (None, 0)
        if value is None:
            return None
        head, _, text = value.partition(b"\n")
        with suppress(ValueError):
            form, kept_ms = head.decode().split()
            return StoredAnswer(decompress_answer(form, text), max(0.0, (int(kept_ms) - left_ms) / 1000))
        return None

    def write(self, key: bytes, answer: KeptAnswer, ttl_s: float) -> None:
        """See AnswerStore."""
        text, kept_ms = answer.compress(), int(1000 * min(ttl_s, LONGEST_KEPT_S))
        if len(text) <= MOST_BYTES and kept_ms > 0:
            value = f"{answer.form} {kept_ms}\n".encode() + text
            self._ask(lambda: self._server.execute("SET", self._name(key), value, "PX", kept_ms))

    def close(self) -> None:
        """The connections belong to the server's other users as well."""

    def _name(self, key: bytes) -> str:
        return f"{self._prefix}{key.hex()}"

    def _ask(self, do: Callable[[], Any]) -> Any:
        """Return what the server answers, None if it can't be used."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            answer = do()
        except StateUnavailable as error:
            self._pause(error)
            return None
        self._resume()
        return answer

    def _pause(self, error: StateUnavailable) -> None:
        with self._lock:
            self._paused_until = time.monotonic() + self._pause_s
            if self._is_up:
                self._is_up = False
                logger.warning("code=cache_unavailable: answers are not kept for now: %s", error)

    def _resume(self) -> None:
        if not self._is_up:
            with self._lock:
                self._is_up = True
                logger.warning("code=cache_available: answers are kept again")
