"""Pictures: what their bytes say they are, whether they are whole, and how they are made smaller. Needs Pillow."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 64_000_000
#: Qualities of JPEG and WebP that are tried at full size; below the last one pictures get smaller.
QUALITIES = (85, 70, 55, 40)
#: How many sizes are tried then.
SIZES = 8

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
_END_OF_GIF = b";"
_BROKEN = "it is broken or cut short"
_TOO_LARGE = f"it has more than {MOST_PIXELS // 1_000_000} megapixels"


class PictureError(Exception):
    """A picture can't be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: `kind` is png, jpeg, webp or gif."""

    kind: str
    data: bytes


def read(data: bytes) -> Picture:
    """Tell what a picture is by its bytes, and that it is whole. Raises PictureError."""
    kind = _kind_of(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                _check_size(image)
                _check_whole(image, kind, data)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(_TOO_LARGE) from None
    except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError):
        raise PictureError(_BROKEN) from None
    return Picture(kind, data)


def shrunk(pictures: Sequence[Picture], limit: int) -> list[Picture]:
    """Make pictures smaller until all of them together have at most limit bytes, each by its share; those that are
    small enough stay as they are. Raises PictureError when that can't be done."""
    total = sum(len(picture.data) for picture in pictures)
    if total <= limit:
        return list(pictures)
    smaller = {picture: _within(picture, limit * len(picture.data) // total) for picture in dict.fromkeys(pictures)}
    made = [smaller[picture] for picture in pictures]
    if sum(len(picture.data) for picture in made) > limit:
        raise PictureError(f"the images can't be made small enough for {limit} bytes")
    return made


def _kind_of(data: bytes) -> str:
    if data.startswith(_PNG):
        return "png"
    if data.startswith(_JPEG):
        return "jpeg"
    if data.startswith(_GIF):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise PictureError("it is neither png, jpeg, webp nor gif")


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise PictureError(_TOO_LARGE)


def _check_whole(image: Image.Image, kind: str, data: bytes) -> None:
    """Look whether anything is missing, at the least cost: checksums, lengths, or an eighth of the size decoded."""
    if kind == "png":
        image.verify()
    elif kind == "webp":
        if len(data) < int.from_bytes(data[4:8], "little") + 8:
            raise PictureError(_BROKEN)
    elif kind == "gif":
        if not data.rstrip(b"\0").endswith(_END_OF_GIF):
            raise PictureError(_BROKEN)
    else:
        image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def _within(picture: Picture, share: int) -> Picture:
    """Give a picture of at most so many bytes, or the smallest there is: WebP stays WebP, all else becomes JPEG."""
    if len(picture.data) <= share:
        return picture
    kind = "webp" if picture.kind == "webp" else "jpeg"
    flat = _flat(picture, kind)
    for quality in QUALITIES:
        made = _encoded(flat, kind, quality)
        if len(made.data) <= share:
            return made
    scale = 1.0
    for _ in range(SIZES):
        scale *= min(0.9, 0.95 * math.sqrt(share / len(made.data)))
        size = (max(1, round(flat.width * scale)), max(1, round(flat.height * scale)))
        made = _encoded(flat.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), kind, quality)
        if len(made.data) <= share:
            break
    return made


def _flat(picture: Picture, kind: str) -> Image.Image:
    """Decode a picture as it is to be seen: turned, and for JPEG on white."""
    with Image.open(io.BytesIO(picture.data)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if kind == "webp":
            return image.convert("RGB" if _is_opaque(image) else "RGBA")
        return image.convert("RGB") if _is_opaque(image) else _on_white(image)


def _is_opaque(image: Image.Image) -> bool:
    return "A" not in image.getbands() and "transparency" not in image.info


def _on_white(image: Image.Image) -> Image.Image:
    colours = image.convert("RGBA")
    white = Image.new("RGB", colours.size, "white")
    white.paste(colours, mask=colours.getchannel("A"))
    return white


def _encoded(image: Image.Image, kind: str, quality: int) -> Picture:
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return Picture(kind, out.getvalue())
