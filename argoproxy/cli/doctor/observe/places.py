"""Which line of the settings names an upstream's URL, and which its key."""

from __future__ import annotations

from collections.abc import Sequence

from argoproxy.cli.doctor.judge.observations import Place
from argoproxy.config.default_upstream import rank_rows
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer
from argoproxy.config.values.settings import BY_KEY

#: The key that belongs to each row of the table of default upstreams.
_KEYS = {"target": "target_api_key", "openai": "openai_api_key"}
#: The URL that belongs to a row that something else names.
_URLS = {"native": "native_openai_base_url", "user": "argo_base_url"}
_NOT_SET = "not set"


class Places:
    """Finds settings by what they are for."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._values = ConfigValues(layers)
        rows = rank_rows(self._values)
        self._row = rows[0] if rows else None

    def url_of(self, upstream: str) -> Place:
        """Return the setting of an upstream's URL."""
        if self._row is None:
            return Place("TARGET_BASE_URL", _NOT_SET)
        if self._row.name == "upstreams":
            return self._in_section(upstream, "base_url")
        return self._place(_URLS.get(self._row.name) or self._row.key(self._values))

    def key_of(self, upstream: str) -> Place:
        """Return the setting of an upstream's API key."""
        if self._row and self._row.name == "upstreams":
            return self._in_section(upstream, "api_key")
        return self._place(_KEYS.get(self._row.name, "user") if self._row else "openai_api_key")

    def _place(self, key: str) -> Place:
        where, flags = self._values.place(key), BY_KEY[key].flags
        if where == "flag" and flags:
            return Place(flags[0].names[0], "command line")
        return Place(BY_KEY[key].environment or key, _NOT_SET if where == "default" else where)

    def _in_section(self, upstream: str, option: str) -> Place:
        layer, path = self._values.layer_of("upstreams"), f"upstreams/{upstream}"
        nearest = f"{path}/{option}" if f"{path}/{option}" in layer.lines else path
        return Place(f"upstreams.{upstream}.{option}", layer.place_of(nearest))
