"""The values of all settings, as the layers set them. All mistakes are collected, each with its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from argoproxy.config.options.declaration import Setting, settings_of
from argoproxy.config.options.parsers import parse_base_url, parse_plain_url, suggest
from argoproxy.config.values.layers import VARIABLE, Layer
from argoproxy.config.values.settings import BY_ENVIRONMENT, BY_KEY, IGNORED, SECTIONS, SETTINGS
from argoproxy.protocol.access.masking import STARS, mask_setting, mask_urls

#: Parsers of URLs: an empty text counts as unset, as in argo-proxy's files.
URL_PARSERS = (parse_base_url, parse_plain_url)
#: A setting that follows from another one: (key, value, where that one is set).
Derived = tuple[str, object, str]
GroupT = TypeVar("GroupT")


class Shown(NamedTuple):
    """A setting as it is shown: its key, its value with secrets starred, where it is set, and whether the value is
    nothing but stars."""

    key: str
    value: Any
    place: str
    is_starred: bool

    def __str__(self) -> str:
        """Return a line of YAML, with the place as a comment."""
        text = "" if self.value is None else json.dumps(self.value, ensure_ascii=False)
        return f"{self.key}: {STARS if self.is_starred else text}  # {self.place}"


class _Value(NamedTuple):
    """A parsed value, the name and the place where it is set, and the index of its layer: 0 is the strongest."""

    value: Any
    name: str
    place: str
    layer: int


class ConfigValues:
    """Parses what layers hold; `mistakes` and `warnings` are collected."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._layers = layers
        self._values: dict[str, _Value] = {}
        for index, layer in enumerate(layers):
            for name, value in layer.values.items():
                self._read(index, name, value)

    def __getitem__(self, key: str) -> Any:
        """Return the value of a setting, its default where it is not set."""
        return self._values[key].value if key in self._values else BY_KEY[key].default

    def group(self, group: type[GroupT]) -> GroupT:
        """Return a group of settings with their values."""
        return group(**{setting.name: self[setting.key] for setting in settings_of(group)})

    def is_set(self, key: str) -> bool:
        """Return whether a layer sets a key, to whatever value."""
        return key in self._values

    def is_enabled(self, key: str) -> bool:
        """Return whether a layer sets a key, and neither to false nor to nothing."""
        return key in self._values and bool(self[key])

    def precedence(self, key: str) -> int:
        """Return the index of the layer that sets a key, the number of layers if none does: the lower, the stronger."""
        return self._values[key].layer if key in self._values else len(self._layers)

    def stronger(self, key: str, general: str) -> str:
        """Return the one of two keys that counts: the special one, unless a stronger layer sets the general one."""
        return key if self.is_set(key) and self.precedence(key) <= self.precedence(general) else general

    def describe(self, key: str) -> str:
        """Return the name of a setting that is set, and its layer: `ARGO_USER (environment)`."""
        return f"{BY_KEY[key].environment or key} ({self._layers[self.precedence(key)].name})"

    def place(self, key: str) -> str:
        """Return where a setting is set: `config.yaml, line 3`, or `default`."""
        return self._values[key].place if key in self._values else "default"

    def layer_of(self, key: str) -> Layer:
        """Return the layer that sets a key; an empty one if none does."""
        return self._layers[self.precedence(key)] if key in self._values else Layer("default", {})

    def show(self, derived: Iterable[Derived] = ()) -> Iterator[Shown]:
        """Yield each setting with its value, secrets starred, and where it is set. `derived` holds settings whose
        values follow from others."""
        others = {key: (value, place) for key, value, place in derived}
        for setting in SETTINGS:
            if not setting.replaced_by:
                value, place = others.get(setting.key, (self[setting.key], self.place(setting.key)))
                yield Shown(setting.key, _mask(setting, value), place, setting.is_secret and value is not None)

    def _read(self, index: int, name: str, value: Any) -> None:
        layer = self._layers[index]
        if name in IGNORED:
            self.warnings.append(f"{layer.place_of(name)}: {name} has no effect here: {IGNORED[name]}")
        elif name in SECTIONS:
            self._read_section(index, name, value)
        elif setting := BY_KEY.get(name) or BY_ENVIRONMENT.get(name):
            self._set(setting, _Value(value, name, layer.place_of(name), index))
        else:
            self.mistakes.append(f'{layer.place_of(name)}: unknown key "{name}"{_suggest_key(name)}')

    def _read_section(self, index: int, section: str, value: Any) -> None:
        layer, settings = self._layers[index], SECTIONS[section]
        if value is not None and not isinstance(value, dict):
            self.mistakes.append(f"{layer.place_of(section)}: {section} must be a mapping of {', '.join(settings)}")
            return
        for name, part in (value or {}).items():
            place = layer.place_of(f"{section}/{name}")
            if name in settings:
                self._set(settings[name], _Value(part, f"{section}.{name}", place, index))
            else:
                self.mistakes.append(f'{place}: unknown key "{section}.{name}"{suggest(str(name), list(settings))}')

    def _set(self, setting: Setting, raw: _Value) -> None:
        """Parse a value and keep it, unless a stronger layer sets the same setting."""
        if raw.value is None or (setting.parse in URL_PARSERS and str(raw.value).strip() == ""):
            return
        try:
            value = setting.parse(raw.value)
        except ValueError as error:
            shown = "" if setting.is_secret else f" {mask_urls(str(raw.value))[:80]!r}"
            self.mistakes.append(f"{raw.place}: {raw.name}{shown} {error}")
            return
        kept = self._values.setdefault(setting.key, raw._replace(value=value))
        if kept.layer == raw.layer and kept.name != raw.name:
            self.mistakes.append(f"{raw.place}: {raw.name} and {kept.name} are the same setting; remove one of them")


def _suggest_key(name: str) -> str:
    """Return the suggestion of a key: that of the environment variable of this name, else one that it resembles."""
    setting = BY_ENVIRONMENT.get(name.upper())
    return suggest(setting.key, [setting.key]) if setting else suggest(name, [*BY_KEY, *SECTIONS])


def _mask(setting: Setting, value: Any) -> Any:
    """Return a value that may be shown, of types that JSON has."""
    if value is None:
        return None
    if setting.is_secret:
        return STARS
    return json.loads(json.dumps(mask_setting(setting.key, value, _is_reference), default=str))


def _is_reference(text: str) -> bool:
    """Return whether a text only names a variable, as `${NAME}`."""
    match = VARIABLE.fullmatch(text.strip())
    return bool(match and not match[1])
