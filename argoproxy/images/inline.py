"""Replace image URLs in messages by data URLs, within limits, while the client is watched."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

from argoproxy.errors import BadRequest
from argoproxy.images.fetch import FetchError
from argoproxy.images.fetch_together import LARGEST_OF_ALL, LONGEST_S, SkippedFetch, fetch_together
from argoproxy.images.image_workers import ImageWorkers
from argoproxy.images.picture import Picture, PictureError
from argoproxy.protocol.content import CHAT_IMAGES, Image, ImageParts, ImageSettings, Place, path_of
from argoproxy.protocol.routing.call import Call
from argoproxy.transport.parallel import Threads, run_natively, submit_all, wait_for
from argoproxy.transport.watch import Watch

logger = logging.getLogger("argoproxy")

#: Image URLs that a request may hold; as many as OpenAI takes.
MOST_URLS = 500
#: Pixels that are decoded to make the images of a request smaller.
MOST_PIXELS_OF_ALL = 256_000_000

_REMOTE = re.compile(r"https?://", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


class Images:
    """Inlines the images of calls."""

    def __init__(self, settings: ImageSettings, ca_bundle: str, workers: ImageWorkers) -> None:
        self._workers = workers
        self._settings = settings
        self._ca_bundle = ca_bundle

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        bundle, is_folder = self._ca_bundle, Path(self._ca_bundle).is_dir()
        return ssl.create_default_context(capath=bundle) if is_folder else ssl.create_default_context(cafile=bundle)

    def inline(self, call: Call, watch: Watch, parts: ImageParts = CHAT_IMAGES) -> Call:
        """Return a call with data URLs in place of image URLs. Raises BadRequest, ClientGone."""
        images = list(parts.find(call.body)) if self._settings.inline else []
        if not images:
            return call
        until = time.monotonic() + LONGEST_S
        bodies = fetch_together(_remote_urls(images), self._settings, self._workers, lambda: self._tls, watch)
        pictures = dict(self._pictures(images, bodies))
        if self._settings.payload_limit is not None:
            pictures = self._shrink_to_fit(call, images, pictures, _WatchedWork(watch, until))
        if sum(len(picture.data) for picture in pictures.values()) > LARGEST_OF_ALL:
            raise BadRequest(
                f"The images can't be used: they have more than {LARGEST_OF_ALL} bytes.", param=_field_of(images)
            )
        urls = {picture: _data_url(picture) for picture in dict.fromkeys(pictures.values())}
        return call.with_body(parts.replace(call.body, {place: urls[picture] for place, picture in pictures.items()}))

    def _pictures(
        self, images: Iterable[Image], bodies: Mapping[str, bytes | FetchError]
    ) -> Iterable[tuple[Place, Picture]]:
        """Yield the fetched pictures. Raises BadRequest for the first that can't be used, unless their URLs are
        kept."""
        known: dict[str, Picture | PictureError] = {}
        for image in images:
            try:
                url = _url_of(image)
                if url in bodies:
                    picture = known[url] = known.get(url) or _try_read(_body_or_raise(bodies[url]))
                    if isinstance(picture, PictureError):
                        raise picture.with_traceback(None)
                    yield image.place, picture
            except SkippedFetch:
                continue  # the image that failed comes later in the list
            except (FetchError, PictureError) as error:
                if not self._settings.keeps_failed:
                    raise BadRequest(f"The image can't be used: {error}.", param=image.path) from None

    def _shrink_to_fit(
        self, call: Call, images: Sequence[Image], fetched: dict[Place, Picture], work: _WatchedWork
    ) -> dict[Place, Picture]:
        """Make the largest pictures smaller if all together are over the limit. Raises BadRequest, ClientGone."""
        limit = self._settings.payload_limit or 0
        pictures = {**dict(_data_url_pictures(images)), **fetched}
        share = fair_share([len(picture.data) for picture in pictures.values()], limit)
        large = {picture for picture in pictures.values() if len(picture.data) > share}
        self._check_pixels(large, share, _field_of(images))
        smaller: dict[Picture, Picture] = {}
        for place, picture in pictures.items():
            if len(picture.data) > share and picture not in smaller:
                smaller[picture] = self._shrink(place, picture, share, work)
        if not smaller:
            return fetched
        results = {place: smaller.get(picture, picture) for place, picture in pictures.items()}
        before, after = (sum(len(picture.data) for picture in of.values()) for of in (pictures, results))
        logger.debug("id=%s images=%s bytes=%s shrunk_to=%s", call.id, len(pictures), before, after)
        if after > limit:
            raise BadRequest(f"The images can't be made small enough for {limit} bytes.", param=_field_of(images))
        return results

    def _check_pixels(self, pictures: Iterable[Picture], share: int, field: str) -> None:
        """Raise BadRequest where making pictures smaller would take too long."""
        from argoproxy.images.shrink import count_decoded_pixels  # noqa: PLC0415 Pillow, only when a picture comes

        pixels = 0
        for picture in pictures:
            with suppress(PictureError):
                pixels += count_decoded_pixels(picture, share)
        if pixels > MOST_PIXELS_OF_ALL:
            most = MOST_PIXELS_OF_ALL // 1_000_000
            message = f"The images can't be made small enough: they have more than {most} megapixels together."
            raise BadRequest(message, param=field)

    def _shrink(self, place: Place, picture: Picture, share: int, work: _WatchedWork) -> Picture:
        from argoproxy.images.shrink import make_smaller  # noqa: PLC0415 Pillow, only when a picture comes

        try:
            return work.result_of(partial(run_natively, partial(make_smaller, picture, share)), self._workers.decoding)
        except PictureError as error:
            if self._settings.keeps_failed:
                return picture
            raise BadRequest(f"The image can't be used: {error}.", param=path_of(place)) from None


def fair_share(sizes: Sequence[int], limit: int) -> int:
    """Return the size up to which each may stay for all to have at most `limit` together: what small ones leave is
    shared by the large ones."""
    left, count = limit, len(sizes)
    for size in sorted(sizes):
        if size > left // count:
            return left // count
        left, count = left - size, count - 1
    return limit


class _WatchedWork:
    """Runs functions that can't be interrupted, while the client is watched and the time of the request runs."""

    def __init__(self, watch: Watch, until: float) -> None:
        self._watch = watch
        self._until = until

    def result_of(self, function: Callable[[], Picture], threads: Threads) -> Picture:
        """Run a function in one of these threads and return its result. Raises ClientGone, PictureError."""
        self._watch.check_client()
        (future,) = submit_all([function], threads, 1)
        try:
            wait_for([future], self._until - time.monotonic(), self._watch)
            if not future.done():
                raise PictureError("the images of this request took too long together")
            return future.result()
        finally:
            future.cancel()
            del future  # a failure's traceback holds this frame, and the future holds the failure


def _remote_urls(images: Sequence[Image]) -> list[str]:
    """Return the URLs to be fetched, each once. Raises BadRequest when there are too many."""
    urls = [image.url for image in images if image.url and _REMOTE.match(image.url)]
    if len(urls) > MOST_URLS:
        message = f"The request holds {len(urls)} image URLs; at most {MOST_URLS} are fetched."
        raise BadRequest(message, param=_field_of(images))
    return list(dict.fromkeys(urls))


def _field_of(images: Sequence[Image]) -> str:
    """Return the field of the body that holds the images."""
    return str(images[0].place[0])


def _url_of(image: Image) -> str:
    if image.url is None:
        raise FetchError("it has no URL")
    if not image.url.lower().startswith(("http://", "https://", "data:")):
        raise FetchError("its URL begins neither with http:// nor with https:// nor with data:")
    return image.url


def _try_read(data: bytes) -> Picture | PictureError:
    """Return a picture or the error, to be kept: a URL that is used several times is read once."""
    try:
        return _read(data)
    except PictureError as error:
        return error


def _read(data: bytes) -> Picture:
    from argoproxy.images.shrink import read_picture  # noqa: PLC0415 Pillow, only when a picture comes

    return read_picture(data)


def _body_or_raise(result: bytes | FetchError) -> bytes:
    if isinstance(result, FetchError):
        raise result
    return result


def _data_url_pictures(images: Iterable[Image]) -> Iterable[tuple[Place, Picture]]:
    """Yield the pictures that are data URLs already; skip those that can't be read: they stay as they are."""
    for image in images:
        prefix = _DATA.match(image.url or "")
        if image.url and prefix:
            with suppress(PictureError, binascii.Error, ValueError):
                yield image.place, _read(base64.b64decode(image.url[prefix.end() :], validate=False))


def _data_url(picture: Picture) -> str:
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"
