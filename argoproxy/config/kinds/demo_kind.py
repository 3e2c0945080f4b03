"""Kind `demo`: the built-in demo model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.kinds.target import Target
from argoproxy.config.values.section import Section
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream


@dataclass(frozen=True, slots=True)
class DemoTarget(Target):
    """The built-in demo."""

    kind: ClassVar[str] = "demo"
    sample_model: ClassVar[str] = "demo"

    @classmethod
    def parse(cls, section: Section, options: Mapping[str, Any]) -> Target:
        """Return the demo."""
        return cls()

    def adapter(self, name: str) -> Upstream:
        """Return the demo's adapter."""
        return DemoUpstream(name)

    @property
    def description(self) -> str:
        """How the log of the start names it."""
        return "the embedded demo"
