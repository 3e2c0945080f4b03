"""Fetch the images of a request in parallel, within limits for each and for all of them together."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial

from argoproxy.images.fetch import Fetch, FetchError, FetchLimits
from argoproxy.images.image_workers import ImageWorkers
from argoproxy.protocol.content import ImageSettings
from argoproxy.transport.parallel import submit_all, wait_for
from argoproxy.transport.watch import Watch

LARGEST = 50 * 1024 * 1024
LARGEST_OF_ALL = 64 * 1024 * 1024
LONGEST_S = 60.0
#: How much longer than a fetch may take is waited, so that it can report its own time-out.
GRACE_S = 0.5


class SkippedFetch(FetchError):
    """An image was not fetched, because another one of the request failed."""


def fetch_together(
    urls: Iterable[str],
    settings: ImageSettings,
    workers: ImageWorkers,
    tls: Callable[[], ssl.SSLContext],
    watch: Watch,
) -> Mapping[str, bytes | FetchError]:
    """Fetch URLs in parallel; return the body or the error of each. Raises ClientGone."""
    budget = _ByteBudget(LARGEST_OF_ALL)
    limits = FetchLimits(settings.timeout_s, LARGEST, settings.addresses, tls, budget.spend, workers.names)
    fetches = {url: Fetch(url, limits) for url in urls}
    if not fetches:
        return {}
    group = _Group(stops=not settings.keeps_failed)
    works = [partial(group.run, fetch) for fetch in fetches.values()]
    futures = submit_all(works, workers.fetches, settings.concurrency)
    rounds = -(-len(fetches) // settings.concurrency)
    try:
        wait_for(futures, min(LONGEST_S, rounds * settings.timeout_s + GRACE_S), watch)
    finally:
        for future, fetch in zip(futures, fetches.values(), strict=True):
            future.cancel()
            fetch.abandon()
    return {url: _result(future) for url, future in zip(fetches, futures, strict=True)}


class _Group:
    """The fetches of a request. With `stops`, none is begun after one has failed: the request is refused anyway."""

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self._has_failed = False

    def run(self, fetch: Fetch) -> bytes:
        """Run a fetch. Raises FetchError."""
        if self._has_failed:
            raise SkippedFetch("another image can't be used")
        try:
            return fetch.run()
        except FetchError:
            self._has_failed = self._stops
            raise


class _ByteBudget:
    """The bytes that all images of a request may have together."""

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, size: int) -> None:
        """Subtract bytes. Raises FetchError when none are left."""
        self._left -= size
        if self._left < 0:
            raise FetchError("the images of this request are too large together")


def _result(future: Future[bytes]) -> bytes | FetchError:
    if not future.done() or future.cancelled():
        return FetchError("it took too long")
    error = future.exception()
    if isinstance(error, FetchError):
        return error
    return future.result()
