"""Brings the keys of this host to those of the database, twice a second; no request waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import StateUnavailable
from argoproxy.stores.postgres.key_publisher import KeyPublisher, SharedKeys

logger = logging.getLogger("argoproxy")

#: How often the database is asked whether a key has changed.
FOLLOW_S = 0.5
#: In place of a stamp, once the keys were withdrawn.
_WITHDRAWN = "withdrawn"


class SharedKeyReader(Protocol):
    """The keys of all replicas. Both raise StateUnavailable."""

    def read_stamp(self) -> str:
        """Return what changes with each change of a key."""

    def read_shared(self) -> SharedKeys:
        """Return them."""


class KeyFollower:
    """The SharedWork of a HostTask."""

    def __init__(
        self,
        keys: SharedKeyReader,
        publisher: KeyPublisher,
        grace_s: float,
        declare: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        """Keys are withdrawn if the database could not be asked for `grace_s` seconds; `declare` declares those of the
        config file where that was not possible at the start."""
        self._keys, self._publisher, self._grace_s, self._declare = keys, publisher, grace_s, declare
        self.close = close
        self._published = ""
        self._is_up = True

    def step(self) -> float:
        """Compare the keys once."""
        try:
            self._follow()
        except StateUnavailable as error:
            self._fail(error)
        else:
            if not self._is_up:
                self._is_up = True
                logger.warning("code=shared_keys_available: the keys of all replicas can be read again")
        return FOLLOW_S

    def finish(self) -> None:
        """Nothing is left to do."""

    def _follow(self) -> None:
        """Publish the keys if they have changed. Raises StateUnavailable."""
        try:
            self._declare()
        except ConfigError as error:
            logger.warning("code=keys_not_declared: %s", "; ".join(error.mistakes))
        stamp = self._keys.read_stamp()
        if stamp and stamp == self._published:
            self._publisher.checked.note()
        else:
            self._published = self._publisher.publish(self._keys.read_shared)

    def _fail(self, error: StateUnavailable) -> None:
        if self._is_up:
            self._is_up = False
            logger.error("code=shared_keys_unavailable: %s The keys that this host knows stay valid.", error.message)
        age_s = self._publisher.checked.age_s
        if age_s is not None and age_s > self._grace_s and self._published != _WITHDRAWN:
            self._publisher.withdraw()
            self._published = _WITHDRAWN
            logger.error("code=shared_keys_withdrawn: no key is accepted until the database can be read (key_grace)")
