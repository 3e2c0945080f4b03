"""Read pictures (kind and completeness, by their bytes) and make them smaller. Needs Pillow."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageOps

from argoproxy.images.picture import Picture, PictureError

MOST_PIXELS = 64_000_000
#: A progressive JPEG has some ten; each takes the time of decoding the whole picture, however few bytes it has.
MOST_SCANS = 100
#: Pixels that a picture may keep when it is made smaller; it is scaled down to that before anything else.
MOST_PIXELS_KEPT = 16_000_000
#: Pixels for each byte of the result at most: even at the lowest quality a photograph takes more bytes.
PIXELS_A_BYTE = 16
#: Scans of a progressive JPEG that cost as much as decoding a plain one.
SCANS_A_PASS = 10
#: Qualities of JPEG and WebP that are tried at full size; below the last one pictures get smaller.
QUALITIES = (85, 70, 55, 40)
#: How many sizes are tried then.
SIZES = 8
#: How far from the end of the data the end mark of a JPEG may be; cameras append data.
END_OF_JPEG_WITHIN = 64 * 1024

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
_SCAN, _END_OF_JPEG, _END_OF_GIF = b"\xff\xda", b"\xff\xd9", b";"
_LONGEST_SIDE = {"jpeg": 65_000, "webp": 16_000}
_TOO_LARGE = f"it has more than {MOST_PIXELS // 1_000_000} megapixels"
#: What Pillow's parsers raise for broken pictures; it documents only OSError.
_FAILURES = (
    *(OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, SyntaxError, EOFError),
    *(RuntimeError, MemoryError, struct.error, zlib.error),
)


def read_picture(data: bytes) -> Picture:
    """Return the picture in these bytes. Raises PictureError if it is of another kind, broken or not whole."""
    kind = _kind_of(data)
    with _open(Picture(kind, data)) as image:
        _check_whole(image, kind, data)
    return Picture(kind, data)


def count_decoded_pixels(picture: Picture, share: int) -> int:
    """Return how many pixels are decoded to make a picture fit. Raises PictureError."""
    with _open(picture) as image:
        passes = -(-picture.data.count(_SCAN) // SCANS_A_PASS) if picture.kind == "jpeg" else 1
        if passes <= 1:
            _draft(image, share)
        return image.width * image.height * max(1, passes)


def make_smaller(picture: Picture, share: int) -> Picture:
    """Return a picture of at most `share` bytes, or the smallest possible: WebP stays WebP, all else becomes JPEG.
    Raises PictureError."""
    if len(picture.data) <= share:
        return picture
    kind = "webp" if picture.kind == "webp" else "jpeg"
    with _open(picture) as image:
        _draft(image, share)
        return _shrink(_flatten(image, kind), kind, share)


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


@contextmanager
def _open(picture: Picture) -> Iterator[Image.Image]:
    """Open a picture of a permitted size. Raises PictureError for whatever Pillow raises within the context."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(picture.data), formats=(picture.kind,)) as image:
                _check_size(image, picture)
                yield image
    except Image.DecompressionBombError:
        raise PictureError(_TOO_LARGE) from None
    except _FAILURES:
        raise PictureError("it is broken or cut short") from None


def _check_size(image: Image.Image, picture: Picture) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise PictureError(_TOO_LARGE)
    if picture.kind == "jpeg" and picture.data.count(_SCAN) > MOST_SCANS:
        raise PictureError(f"it has more than {MOST_SCANS} scans")


def _check_whole(image: Image.Image, kind: str, data: bytes) -> None:
    """Raise PictureError if something is missing; found without decoding, by checksums, lengths and end marks."""
    is_whole = True
    if kind == "png":
        image.verify()
    elif kind == "webp":
        is_whole = len(data) >= int.from_bytes(data[4:8], "little") + 8
    elif kind == "gif":
        is_whole = data.rstrip(b"\0").endswith(_END_OF_GIF)
    else:
        is_whole = _END_OF_JPEG in data[-END_OF_JPEG_WITHIN:]
    if not is_whole:
        raise PictureError("it is broken or cut short")


def _draft(image: Image.Image, share: int) -> None:
    """Decode a JPEG at a half, a quarter or an eighth of its size, if no more pixels than that can be kept."""
    pixels = max(1, min(MOST_PIXELS_KEPT, share * PIXELS_A_BYTE))
    scale = min(1.0, math.sqrt(pixels / (image.width * image.height)))
    image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _shrink(flat: Image.Image, kind: str, share: int) -> Picture:
    for quality in QUALITIES:
        result = _encode(flat, kind, quality)
        if len(result.data) <= share:
            return result
    scale = 1.0
    for _ in range(SIZES):
        scale *= min(0.9, 0.95 * math.sqrt(share / len(result.data)))
        result = _encode(_resize(flat, scale), kind, quality)
        if len(result.data) <= share:
            break
    return result


def _flatten(image: Image.Image, kind: str) -> Image.Image:
    """Return a picture as it is displayed: turned, in eight bits, for JPEG on white, and not larger than its format
    allows."""
    image = _to_eight_bits(_scale_down(image))
    ImageOps.exif_transpose(image, in_place=True)
    if kind == "webp":
        flat = image.convert("RGB" if _is_opaque(image) else "RGBA")
    else:
        flat = image.convert("RGB") if _is_opaque(image) else _put_on_white(image)
    longest = max(flat.size)
    return _resize(flat, _LONGEST_SIDE[kind] / longest) if longest > _LONGEST_SIDE[kind] else flat


def _scale_down(image: Image.Image) -> Image.Image:
    """Scale a large picture down by a whole number, before it is copied; convert it to a mode that can be scaled."""
    factor = math.ceil(math.sqrt(image.width * image.height / MOST_PIXELS_KEPT))
    if factor <= 1:
        return image
    if image.mode == "P":
        image = image.convert("RGB" if _is_opaque(image) else "RGBA")
    elif image.mode == "1" or image.mode.startswith("I;"):
        image = image.convert("L" if image.mode == "1" else "I")
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of gray down: Pillow's own conversion would clip them."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def _is_opaque(image: Image.Image) -> bool:
    return "A" not in image.getbands() and "transparency" not in image.info


def _put_on_white(image: Image.Image) -> Image.Image:
    colours = image.convert("RGBA")
    white = Image.new("RGB", colours.size, "white")
    white.paste(colours, mask=colours.getchannel("A"))
    return white


def _resize(image: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _encode(image: Image.Image, kind: str, quality: int) -> Picture:
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return Picture(kind, out.getvalue())
