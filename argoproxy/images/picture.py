"""A picture. Apart from what reads and shrinks it: that needs Pillow, which is only loaded when a picture comes."""

from __future__ import annotations

from dataclasses import dataclass


class PictureError(Exception):
    """A picture can't be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: `kind` is png, jpeg, webp or gif."""

    kind: str
    data: bytes
