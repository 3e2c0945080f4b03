from __future__ import annotations

import io
import os
import struct
import zlib
from contextlib import suppress
from typing import Any, cast

import pytest
from PIL import Image

from argoproxy.images.picture import Picture, PictureError
from argoproxy.images.shrink import MOST_PIXELS_KEPT, count_decoded_pixels, make_smaller, read_picture


def made(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    noise = Image.effect_noise(size, 80).convert(mode)
    out = io.BytesIO()
    noise.save(out, kind, **options)
    return out.getvalue()


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.data))
    image.load()
    return image


KINDS = ["png", "jpeg", "webp", "gif"]


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_tell_what_they_are(kind: str) -> None:
    data = made(kind)
    assert read_picture(data) == Picture(kind, data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_picture_is_refused(kind: str, share: float) -> None:
    data = made(kind, (256, 256))
    with pytest.raises(PictureError, match="broken or cut short"):
        read_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"<html>", b"%PDF-1.4", b"RIFF0000WAVE", b"BM" + b"\0" * 100, b"<svg/>"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match="neither png, jpeg, webp nor gif"):
        read_picture(data)


@pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\4\0\0\0WEBP"])
def test_a_head_alone_is_no_picture(head: bytes) -> None:
    with pytest.raises(PictureError, match="broken or cut short"):
        read_picture(head + b"\0" * 20)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (20_000, 20_000), (60_000, 60_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="more than 64 megapixels"):
        read_picture(bomb(*size))


def test_what_fits_stays_as_it_is() -> None:
    picture = read_picture(made("png"))
    assert make_smaller(picture, len(picture.data)) is picture


@pytest.mark.parametrize(("kind", "becomes"), [("png", "jpeg"), ("jpeg", "jpeg"), ("webp", "webp"), ("gif", "jpeg")])
@pytest.mark.parametrize("share", [0.8, 0.3, 0.05])
def test_pictures_are_made_to_fit(kind: str, becomes: str, share: float) -> None:
    picture = read_picture(made(kind, (400, 300)))
    limit = int(len(picture.data) * share)
    smaller = make_smaller(picture, limit)
    assert len(smaller.data) <= limit
    assert read_picture(smaller.data).kind == becomes


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "I;16", "RGBA"])
def test_every_mode_keeps_what_is_seen(mode: str) -> None:
    kind = "jpeg" if mode == "CMYK" else "png"
    gray = Image.linear_gradient("L").resize((600, 600))
    noisy = Image.blend(gray, Image.effect_noise((600, 600), 60), 0.1)
    deep = noisy.convert("I").point(lambda value: value * 256)
    image = deep.convert(mode) if mode == "I;16" else noisy.convert(mode)
    out = io.BytesIO()
    image.save(out, kind)
    smaller = opened(make_smaller(read_picture(out.getvalue()), len(out.getvalue()) // 3)).convert("L")
    top, bottom = (smaller.getpixel((smaller.width // 2, y)) for y in (5, smaller.height - 5))
    assert (cast(int, top) < 90, cast(int, bottom) > 160) == (True, True)


def test_a_side_that_is_too_long_for_its_kind_is_cut_down() -> None:
    picture = read_picture(made("png", (70_000, 10)))
    smaller = make_smaller(picture, len(picture.data) - 1)
    assert opened(smaller).width <= 65_000


def test_a_jpeg_of_many_scans_is_refused() -> None:
    data = made("jpeg", (256, 256), progressive=True)
    assert read_picture(data).kind == "jpeg"
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(PictureError, match="more than 100 scans"):
        read_picture(data[:-2] + scan * 100 + data[-2:])


def damaged(kind: str, place: int) -> bytes:
    data = bytearray(made(kind, (128, 128)))
    data[place % len(data)] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(20, 4000, 199))
def test_damage_is_a_picture_error_or_nothing(kind: str, place: int) -> None:
    for work in (read_picture, lambda data: make_smaller(Picture(kind, data), 500)):
        with suppress(PictureError):
            work(damaged(kind, place))


def test_a_png_without_pixels_is_refused() -> None:
    data = bomb(10, 10)
    cut = data[: data.index(b"IDAT") - 4] + data[data.index(b"IEND") - 4 :]
    with pytest.raises(PictureError, match="broken"):
        read_picture(cut)


def test_orientation_is_kept() -> None:
    left = Image.new("RGB", (400, 300), "white")
    left.paste("black", (0, 0, 200, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    left.save(out, "jpeg", exif=exif, quality=100)
    smaller = make_smaller(read_picture(out.getvalue()), len(out.getvalue()) - 1)
    image = opened(smaller)
    assert image.size == (300, 400)
    assert image.getpixel((150, 50)) == (0, 0, 0)
    assert image.getpixel((150, 350)) == (255, 255, 255)


def test_what_is_transparent_gets_a_white_ground_or_stays_so() -> None:
    clear = Image.new("RGBA", (300, 300), (255, 0, 0, 0))
    clear.paste(Image.effect_noise((300, 150), 90).convert("RGBA"), (0, 0))
    for kind, seen in (("png", (255, 255, 255)), ("webp", None)):
        out = io.BytesIO()
        clear.save(out, kind, **({"lossless": True} if kind == "webp" else {}))
        smaller = make_smaller(read_picture(out.getvalue()), len(out.getvalue()) // 2)
        pixel = opened(smaller).getpixel((150, 280 * opened(smaller).height // 300))
        assert pixel == seen if seen else isinstance(pixel, tuple) and pixel[3] == 0


MODES, SIZES = ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"), ((5000, 4000), (30_000, 700))
LARGE = [(mode, size) for mode in MODES for size in SIZES]
#: Each mode in one size, and each size in about half of the modes: LAB=full takes all.
PAIRWISE = [(mode, SIZES[place % 2]) for place, mode in enumerate(MODES)]


@pytest.mark.parametrize(("mode", "size"), LARGE if os.environ.get("LAB") == "full" else PAIRWISE)
def test_a_large_picture_keeps_no_more_pixels_than_can_be_used(mode: str, size: tuple[int, int]) -> None:
    image = Image.linear_gradient("L").resize(size)
    image = image.convert("I").point(lambda value: value * 256) if mode == "I;16" else image
    out = io.BytesIO()
    image.convert(mode).save(out, "png")
    smaller = opened(make_smaller(read_picture(out.getvalue()), len(out.getvalue()) - 1))
    assert smaller.width * smaller.height <= MOST_PIXELS_KEPT
    assert abs(smaller.width / smaller.height - size[0] / size[1]) <= 0.01 * size[0] / size[1]
    gray = smaller.convert("L")
    top, bottom = (gray.getpixel((gray.width // 2, y)) for y in (gray.height // 100, gray.height * 99 // 100))
    assert cast(int, top) < 60 < 190 < cast(int, bottom)


def test_a_jpeg_costs_what_is_decoded_of_it() -> None:
    picture = read_picture(made("jpeg", (4000, 3000)))
    assert count_decoded_pixels(picture, 10_000_000) == 4000 * 3000
    assert count_decoded_pixels(picture, 4000 * 3000 // 64) == 2000 * 1500
    assert count_decoded_pixels(picture, 1) == 500 * 375
    assert count_decoded_pixels(read_picture(made("png", (400, 300))), 1) == 400 * 300


def test_each_ten_scans_of_a_jpeg_cost_as_much_as_one_picture() -> None:
    data = made("jpeg", (256, 256), progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert count_decoded_pixels(Picture("jpeg", data), 1) <= 256 * 256
    assert count_decoded_pixels(Picture("jpeg", data[:-2] + scan * 40 + data[-2:]), 1) == 256 * 256 * 5
