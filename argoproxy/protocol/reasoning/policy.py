"""What the settings say about a model's thoughts: the policy, the tags, and how an answer starts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reasoning(StrEnum):
    """Where the client finds a model's thoughts: nowhere, where the model put them, in a field, between tags."""

    STRIP = "strip"
    KEEP = "keep"
    FIELD = "field"
    TAGS = "tags"


class Opening(StrEnum):
    """How a text starts: outside a thought, inside one, or inside if its first tag is a closing one."""

    CLOSED = "closed"
    OPEN = "open"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class TagPair:
    """The tags that open and close a thought."""

    start: str = "<think>"
    end: str = "</think>"


@dataclass(frozen=True, slots=True)
class ReasoningSettings:
    """How to treat the thoughts of a model.

    Without a policy, thoughts between tags are removed and reasoning fields stay. `field` is the target of the policy
    `FIELD`. All `tags` are recognised; the policy `TAGS` writes the first pair.
    """

    policy: Reasoning | None = None
    field: str = "reasoning_content"
    tags: tuple[TagPair, ...] = (TagPair(),)
    opening: Opening = Opening.CLOSED
