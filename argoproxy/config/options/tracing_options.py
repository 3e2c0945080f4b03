"""Settings of tracing; settings.py tells how they are declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from argoproxy.config.options.declaration import setting
from argoproxy.config.options.parsers import parse_base_url, parse_header_text, parse_text
from argoproxy.protocol.access.secrets import Secret

#: Where a collector takes spans, below its base URL (OTLP/HTTP).
TRACES = "/v1/traces"


def parse_collector_headers(value: Any) -> dict[str, Secret]:
    """Parse header fields, as `name=value` separated by commas, or as a mapping. Values may be keys: none is shown."""
    pairs = value.items() if isinstance(value, Mapping) else (part.split("=", 1) for part in _split(value))
    fields = {}
    for pair in pairs:
        name, text = (*pair, "")[:2]
        try:
            fields[parse_header_text(name)] = Secret(str(text).strip())
        except ValueError:
            raise ValueError("must be name=value, separated by commas") from None
    if not all(field.text.isascii() and field.text.isprintable() and field.text for field in fields.values()):
        raise ValueError("must be name=value, separated by commas")
    return fields


def parse_part(value: Any) -> float:
    """Parse a number from 0 to 1."""
    try:
        part = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        part = -1.0
    if not 0 <= part <= 1:
        raise ValueError("must be a number from 0 to 1")
    return part


def _split(value: Any) -> list[str]:
    return [part.strip() for part in parse_text(value).split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """Tracing"""

    otlp_endpoint: str | None = setting(
        parse_base_url,
        None,
        "Base URL of an OpenTelemetry collector, such as http://localhost:4318; no traces are sent if unset",
        page="tracing.md",
    )
    otlp_headers: dict[str, Secret] | None = setting(
        parse_collector_headers,
        None,
        "Header fields for the collector: name=value, separated by commas",
        page="tracing.md",
    )
    otlp_sample: float = setting(
        parse_part,
        1.0,
        "Part of the requests that are traced, from 0 to 1; where a client sends traceparent, its word counts",
        page="tracing.md#sampling",
    )

    @property
    def traces_url(self) -> str:
        """Where spans are sent; "" if they are not."""
        base = (self.otlp_endpoint or "").rstrip("/")
        return base if not base or base.endswith(TRACES) else f"{base}{TRACES}"

    @property
    def headers(self) -> dict[str, str]:
        """The header fields as text."""
        return {name: value.text for name, value in (self.otlp_headers or {}).items()}
