"""Settings as they are declared: names, sections of the file, older settings."""

from __future__ import annotations

from typing import Any

import pytest

from argoproxy.config.config import build, settings_for_restart
from argoproxy.config.derived import LogSettings
from argoproxy.config.options.declaration import Setting
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer
from argoproxy.config.values.settings import BY_ENVIRONMENT, BY_KEY, GROUPS, IGNORED, SECTIONS, SETTINGS

IN_SECTIONS = [setting for setting in SETTINGS if setting.section]


def values_of(*layers: dict[str, Any]) -> ConfigValues:
    return ConfigValues([Layer(f"layer {index}", content) for index, content in enumerate(layers)])


def find_mistakes(*layers: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build([Layer("config.yaml", content) for content in layers], {})
    return list(caught.value.mistakes)


def test_names_are_used_once() -> None:
    assert len(BY_KEY) == len(SETTINGS)
    assert len(BY_ENVIRONMENT) == sum(bool(setting.environment) for setting in SETTINGS)
    assert not set(BY_KEY) & set(IGNORED) & set(SECTIONS)
    assert not set(SECTIONS) & (set(BY_KEY) | set(IGNORED))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_setting_is_told_in_a_line(setting: Setting) -> None:
    assert 0 < len(setting.about) < 200
    assert not setting.about.endswith(".")
    assert setting.replaced_by == "" or not BY_KEY[setting.replaced_by].replaced_by


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_a_group_of_unset_settings_holds_the_defaults(group: type) -> None:
    assert values_of().group(group) == group()


SAMPLES: dict[str, Any] = {
    "user": "me",
    "output_path": "folder",
    "image_shrink_to": 5,
    "inline_images": True,
    "limits_rpm": 60,
    "limits_tpm": 0,
    "limits_concurrent": 4,
    "limits_budget": "5/month",
}


@pytest.mark.parametrize("setting", IN_SECTIONS, ids=lambda setting: setting.path)
def test_a_setting_in_its_section_is_the_one_at_the_top(setting: Setting) -> None:
    value = SAMPLES.get(setting.key, setting.default if setting.default is not None else "http://x")
    flat, nested = values_of({setting.key: value}), values_of({setting.section: {setting.name: value}})
    assert flat.mistakes == nested.mistakes == []
    assert flat[setting.key] == nested[setting.key]
    assert nested.is_set(setting.key)


@pytest.mark.parametrize("setting", IN_SECTIONS, ids=lambda setting: setting.path)
def test_both_names_in_one_file_are_an_error_that_names_both(setting: Setting) -> None:
    value = SAMPLES.get(setting.key, setting.default if setting.default is not None else "http://x")
    (mistake,) = values_of({setting.key: value, setting.section: {setting.name: value}}).mistakes
    assert setting.path in mistake
    assert setting.key in mistake


def test_a_section_yields_to_a_stronger_layer() -> None:
    assert values_of({"IMAGE_TIMEOUT": "5"}, {"images": {"timeout": 7}})["image_timeout"] == 5
    assert values_of({"images": {"timeout": 7}}, {"image_timeout": 5})["image_timeout"] == 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": {"timeuot": 5}}, ['"images.timeuot"', 'did you mean "timeout"?']),
        ({"images": {"timeout": "soon"}}, ["images.timeout 'soon' "]),
        ({"images": 5}, ["images ", "inline, timeout"]),
        ({"imags": {}}, ['"imags"', 'did you mean "images"?']),
    ],
)
def test_a_mistake_in_a_section_is_named_by_its_path(content: dict[str, Any], words: list[str]) -> None:
    (mistake,) = find_mistakes(content)
    assert mistake.startswith("config.yaml: ")
    assert all(word in mistake for word in words)


def test_an_empty_section_sets_nothing() -> None:
    assert values_of({"images": None, "journal": {}}).mistakes == []


@pytest.mark.parametrize(
    ("layers", "level", "requests"),
    [
        ([{}], "info", True),
        ([{"log_level": "debug"}], "debug", True),
        ([{"LOG_LEVEL": "INFO"}], "info", True),
        ([{"LOG_LEVEL": "Error"}], "warning", False),
        ([{"log": {"level": "warning"}}], "warning", False),
        ([{"verbose": False}], "warning", False),
        ([{"verbose": True}], "info", True),
        ([{"debug": True}], "debug", True),
        ([{"debug": True, "verbose": False}], "debug", False),
        ([{"VERBOSE": "false"}, {"log_level": "debug"}], "warning", False),
        ([{"LOG_LEVEL": "debug"}, {"verbose": False}], "debug", True),
        ([{"log_level": "warning", "verbose": True}], "warning", False),
    ],
)
def test_what_is_logged(layers: list[dict[str, Any]], level: str, requests: bool) -> None:
    made = build([Layer(str(index), content) for index, content in enumerate(layers)], {})
    assert made.log == LogSettings(level, requests)


@pytest.mark.parametrize(
    ("layers", "limit_mib"),
    [
        ([{}], None),
        ([{"images": {"shrink_to": 5}}], 5),
        ([{"max_payload_size": 5}], None),
        ([{"enable_payload_control": True}], 20),
        ([{"enable_payload_control": True, "max_payload_size": 5}], 5),
        ([{"ENABLE_PAYLOAD_CONTROL": "false"}, {"image_shrink_to": 5}], None),
        ([{"IMAGE_SHRINK_TO": "7"}, {"enable_payload_control": True}], 7),
        ([{"image_shrink_to": 7, "enable_payload_control": True}], 7),
    ],
)
def test_when_images_are_made_smaller(layers: list[dict[str, Any]], limit_mib: float | None) -> None:
    made = build([Layer(str(index), content) for index, content in enumerate(layers)], {})
    assert made.images.payload_limit == (None if limit_mib is None else limit_mib * 1024 * 1024)


def test_which_changes_count_after_a_restart_only() -> None:
    before = build([Layer("a", {})], {})
    after = build([Layer("a", {"num_workers": 7, "client": {"body_timeout": 7}, "compatible": True})], {})
    assert settings_for_restart(before, after) == ["num_workers", "client_body_timeout"]
