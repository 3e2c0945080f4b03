"""What the views read from: the settings that the workers have, and the folder that they share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from argoproxy.config.config import Config, build
from argoproxy.config.values.layers import Layer, read_layers, read_snapshot
from argoproxy.console.views.view_shapes import ShownModel
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.routing.router import Models
from argoproxy.server.runtime import SNAPSHOT
from argoproxy.upstreams import Upstream
from argoproxy.web.upstream_factory import collect_secrets, models_of


@dataclass(frozen=True)
class Sources:
    """The settings of one reload, and where things are. `here` is the folder to which paths in settings are relative,
    `shared` the one that the workers share, None if they share none."""

    config: Config
    layers: Sequence[Layer]
    environ: Mapping[str, str]
    here: Path
    shared: Path | None
    #: What was found of models before, by their names.
    described: dict[str, ShownModel] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def masker(self) -> Masker:
        """Stars the secrets of the settings."""
        return Masker(collect_secrets(self.config))

    @cached_property
    def models(self) -> Models[Upstream]:
        """The rules and upstreams. Raises ConfigError."""
        return models_of(self.config)

    def mask(self, text: str) -> str:
        """Return a text, with every secret of the settings starred."""
        return self.masker.mask_text((), text)


class SettingsReader:
    """Reads the settings that the proxy has now: those that its master published last."""

    def __init__(self, environ: Mapping[str, str], here: Path, shared: Path | None) -> None:
        self._environ, self._here, self._shared = environ, here, shared
        self._stamp: tuple[int, int] | None = None
        self._sources: Sources | None = None

    def read(self) -> Sources:
        """Return the settings, read again if they have changed. Raises ConfigError, OSError."""
        stamp = self._read_stamp()
        if self._sources is None or stamp != self._stamp:
            layers = read_snapshot(self._path()) if stamp else read_layers(self._environ, self._here)
            config = build(layers, self._environ, self._here)
            self._sources = Sources(config, layers, self._environ, self._here, self._shared)
            self._stamp = stamp
        return self._sources

    def _path(self) -> Path:
        return (self._shared or Path()) / SNAPSHOT

    def _read_stamp(self) -> tuple[int, int] | None:
        """Return inode and time of what is published; None if nothing is."""
        if self._shared is None:
            return None
        try:
            status = os.stat(self._path())
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
