from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from argoproxy.pictures import Picture, PictureError, read, shrunk


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
    assert read(data) == Picture(kind, data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_picture_is_refused(kind: str, share: float) -> None:
    data = made(kind, (256, 256))
    with pytest.raises(PictureError, match="broken or cut short"):
        read(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"<html>", b"%PDF-1.4", b"RIFF0000WAVE", b"BM" + b"\0" * 100, b"<svg/>"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match="neither png, jpeg, webp nor gif"):
        read(data)


@pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\4\0\0\0WEBP"])
def test_a_head_alone_is_no_picture(head: bytes) -> None:
    with pytest.raises(PictureError, match="broken or cut short"):
        read(head + b"\0" * 20)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (20_000, 20_000), (60_000, 60_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="more than 64 megapixels"):
        read(bomb(*size))


def test_what_fits_stays_as_it_is() -> None:
    pictures = [read(made("png")), read(made("jpeg"))]
    assert shrunk(pictures, sum(len(picture.data) for picture in pictures)) == pictures


@pytest.mark.parametrize(("kind", "becomes"), [("png", "jpeg"), ("jpeg", "jpeg"), ("webp", "webp"), ("gif", "jpeg")])
@pytest.mark.parametrize("share", [0.8, 0.3, 0.05])
def test_pictures_are_made_to_fit(kind: str, becomes: str, share: float) -> None:
    picture = read(made(kind, (400, 300)))
    limit = int(len(picture.data) * 2 * share)
    smaller = shrunk([picture, picture], limit)
    assert sum(len(one.data) for one in smaller) <= limit
    assert [read(one.data).kind for one in smaller] == [becomes, becomes]


def test_orientation_is_kept() -> None:
    left = Image.new("RGB", (400, 300), "white")
    left.paste("black", (0, 0, 200, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    left.save(out, "jpeg", exif=exif, quality=100)
    (smaller,) = shrunk([read(out.getvalue())], len(out.getvalue()) - 1)
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
        (smaller,) = shrunk([read(out.getvalue())], len(out.getvalue()) // 2)
        pixel = opened(smaller).getpixel((150, 280 * opened(smaller).height // 300))
        assert pixel == seen if seen else isinstance(pixel, tuple) and pixel[3] == 0


def test_what_can_not_be_made_to_fit_is_told() -> None:
    with pytest.raises(PictureError, match="can't be made small enough for 10 bytes"):
        shrunk([read(made("jpeg"))], 10)
