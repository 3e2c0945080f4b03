"""Images: URLs in messages become data URLs, within limits, while the client is watched."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from argoproxy.errors import BadRequest
from argoproxy.images.fetch import Fetch, FetchError, Limits
from argoproxy.images.shrink import Picture, PictureError, cost_of, read, within
from argoproxy.protocol.content import Image, ImageSettings, Place, images_in, path_of, with_images
from argoproxy.protocol.routing.call import Call
from argoproxy.transport.connect import Resolver
from argoproxy.transport.parallel import Threads, run_natively, submit_all, wait_for
from argoproxy.transport.watch import Watch

logger = logging.getLogger("argoproxy")

LARGEST = 50 * 1024 * 1024
LARGEST_OF_ALL = 64 * 1024 * 1024
LONGEST_S = 60.0
#: Image URLs that a request may hold; as many as OpenAI takes.
MOST_URLS = 500
#: Images that a process fetches at once, for all requests together.
MOST_FETCHES = 128
#: Images that a process decodes at once: one may take half a gigabyte meanwhile.
MOST_DECODED = 2
#: Pixels that are decoded to make the images of a request smaller.
MOST_PIXELS_OF_ALL = 256_000_000
#: How much longer than a fetch may take is waited for it to say so itself.
GRACE_S = 0.5

_REMOTE = re.compile(r"https?://", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageWorkers:
    """What all requests of a process share: the threads that fetch and decode, and lookups of names."""

    decoding: Threads = field(default_factory=lambda: Threads(MOST_DECODED))
    fetches: Threads = field(default_factory=lambda: Threads(MOST_FETCHES))
    names: Resolver = field(default_factory=Resolver)


class Images:
    """Puts images into calls."""

    def __init__(self, settings: ImageSettings, ca_bundle: str, workers: ImageWorkers) -> None:
        self._workers = workers
        self._settings = settings
        self._ca_bundle = ca_bundle

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        bundle, is_folder = self._ca_bundle, Path(self._ca_bundle).is_dir()
        return ssl.create_default_context(capath=bundle) if is_folder else ssl.create_default_context(cafile=bundle)

    def inlined(self, call: Call, watch: Watch) -> Call:
        """Give a call with its images in it. Raises BadRequest, ClientGone."""
        images = list(images_in(call.body)) if self._settings.inline else []
        if not images:
            return call
        until = time.monotonic() + LONGEST_S
        bodies = self._fetched(_remote(images), watch)
        pictures = dict(self._pictures(images, bodies))
        if self._settings.payload_limit is not None:
            pictures = self._fitting(call, images, pictures, _Pause(watch, until))
        if sum(len(picture.data) for picture in pictures.values()) > LARGEST_OF_ALL:
            raise BadRequest(f"The images can't be used: they have more than {LARGEST_OF_ALL} bytes.", param="messages")
        urls = {picture: _data_url(picture) for picture in dict.fromkeys(pictures.values())}
        return call.with_body(with_images(call.body, {place: urls[picture] for place, picture in pictures.items()}))

    def _fetched(self, urls: Iterable[str], watch: Watch) -> Mapping[str, bytes | FetchError]:
        """Fetch side by side: what came, or why it did not, for each URL. Raises ClientGone."""
        settings, budget = self._settings, _Budget(LARGEST_OF_ALL)
        workers = self._workers
        limits = Limits(settings.timeout_s, LARGEST, settings.addresses, lambda: self._tls, budget.spend, workers.names)
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

    def _pictures(
        self, images: Iterable[Image], bodies: Mapping[str, bytes | FetchError]
    ) -> Iterable[tuple[Place, Picture]]:
        """Give the pictures of what was fetched. Raises BadRequest for one that is none, unless those are kept."""
        known: dict[str, Picture | PictureError] = {}
        for image in images:
            try:
                url = _url_of(image)
                if url in bodies:
                    found = known[url] = known.get(url) or _read(_body(bodies[url]))
                    if isinstance(found, PictureError):
                        raise found.with_traceback(None)
                    yield image.place, found
            except _Skipped:
                continue  # the one that failed comes behind it
            except (FetchError, PictureError) as error:
                if not self._settings.keeps_failed:
                    raise BadRequest(f"The image can't be used: {error}.", param=image.path) from None

    def _fitting(
        self, call: Call, images: Iterable[Image], fetched: dict[Place, Picture], pause: _Pause
    ) -> dict[Place, Picture]:
        """Make pictures smaller where all of them together are too much. Raises BadRequest, ClientGone."""
        limit = self._settings.payload_limit or 0
        pictures = {**dict(_embedded(images)), **fetched}
        share = share_of([len(picture.data) for picture in pictures.values()], limit)
        self._check_pixels({picture for picture in pictures.values() if len(picture.data) > share}, share)
        made: dict[Picture, Picture] = {}
        for place, picture in pictures.items():
            if len(picture.data) > share and picture not in made:
                made[picture] = self._smaller(place, picture, share, pause)
        if not made:
            return fetched
        smaller = {place: made.get(picture, picture) for place, picture in pictures.items()}
        before, after = (sum(len(picture.data) for picture in of.values()) for of in (pictures, smaller))
        logger.debug("id=%s images=%s bytes=%s shrunk_to=%s", call.id, len(pictures), before, after)
        if after > limit:
            raise BadRequest(f"The images can't be made small enough for {limit} bytes.", param="messages")
        return smaller

    def _check_pixels(self, pictures: Iterable[Picture], share: int) -> None:
        """Raise BadRequest where making pictures smaller would take too long."""
        pixels = 0
        for picture in pictures:
            with suppress(PictureError):
                pixels += cost_of(picture, share)
        if pixels > MOST_PIXELS_OF_ALL:
            most = MOST_PIXELS_OF_ALL // 1_000_000
            message = f"The images can't be made small enough: they have more than {most} megapixels together."
            raise BadRequest(message, param="messages")

    def _smaller(self, place: Place, picture: Picture, share: int, pause: _Pause) -> Picture:
        try:
            return pause.result_of(partial(run_natively, partial(within, picture, share)), self._workers.decoding)
        except PictureError as error:
            if self._settings.keeps_failed:
                return picture
            raise BadRequest(f"The image can't be used: {error}.", param=path_of(place)) from None


def share_of(sizes: Sequence[int], limit: int) -> int:
    """Give how much each of these may have for all to have at most limit: what the small ones leave is shared by the
    large ones."""
    left, count = limit, len(sizes)
    for size in sorted(sizes):
        if size > left // count:
            return left // count
        left, count = left - size, count - 1
    return limit


class _Pause:
    """The wait for work that can't be interrupted: the client is watched, and the time of the request runs."""

    def __init__(self, watch: Watch, until: float) -> None:
        self._watch = watch
        self._until = until

    def result_of(self, work: Callable[[], Picture], threads: Threads) -> Picture:
        """Run a function in one of these threads and return its result. Raises ClientGone, PictureError."""
        self._watch.check_client()
        (future,) = submit_all([work], threads, 1)
        try:
            wait_for([future], self._until - time.monotonic(), self._watch)
            if not future.done():
                raise PictureError("the images of this request took too long together")
            return future.result()
        finally:
            future.cancel()
            del future  # a failure holds this frame, and the future the failure


class _Skipped(FetchError):
    """An image was not fetched, because another one of the request can't be."""


class _Group:
    """The fetches of a request; with `stops` none is begun after one has failed: the request is refused anyway."""

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self._has_failed = False

    def run(self, fetch: Fetch) -> bytes:
        """Run a fetch. Raises FetchError."""
        if self._has_failed:
            raise _Skipped("another image can't be used")
        try:
            return fetch.run()
        except FetchError:
            self._has_failed = self._stops
            raise


class _Budget:
    """Bytes that all images of a request share."""

    def __init__(self, size: int) -> None:
        self._left = size

    def spend(self, size: int) -> None:
        """Take some. Raises FetchError when there are none left."""
        self._left -= size
        if self._left < 0:
            raise FetchError("the images of this request are too large together")


def _remote(images: Sequence[Image]) -> list[str]:
    """Return the URLs to be fetched, each once. Raises BadRequest when there are too many."""
    urls = [image.url for image in images if image.url and _REMOTE.match(image.url)]
    if len(urls) > MOST_URLS:
        message = f"The request holds {len(urls)} image URLs; at most {MOST_URLS} are fetched."
        raise BadRequest(message, param="messages")
    return list(dict.fromkeys(urls))


def _result(future: Future[bytes]) -> bytes | FetchError:
    if not future.done() or future.cancelled():
        return FetchError("it took too long")
    error = future.exception()
    if isinstance(error, FetchError):
        return error
    return future.result()


def _url_of(image: Image) -> str:
    if image.url is None:
        raise FetchError("it has no URL")
    if not image.url.lower().startswith(("http://", "https://", "data:")):
        raise FetchError("its URL begins neither with http:// nor with https:// nor with data:")
    return image.url


def _read(data: bytes) -> Picture | PictureError:
    """Return a picture, or why it is none: a URL that stands in many places is read once."""
    try:
        return read(data)
    except PictureError as error:
        return error


def _body(found: bytes | FetchError) -> bytes:
    if isinstance(found, FetchError):
        raise found
    return found


def _embedded(images: Iterable[Image]) -> Iterable[tuple[Place, Picture]]:
    """Give the pictures that came as data URLs; what can't be read is left as it is."""
    for image in images:
        found = _DATA.match(image.url or "")
        if image.url and found:
            with suppress(PictureError, binascii.Error, ValueError):
                yield image.place, read(base64.b64decode(image.url[found.end() :], validate=False))


def _data_url(picture: Picture) -> str:
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"
