"""Limits in the config file: those of all requests, of keys and teams, of rules for models, of upstreams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from argoproxy.config.options.limit_options import LimitOptions
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.protocol.limits.limit_fields import LIMIT_FIELDS, join_models, make_limits, parse_pattern
from argoproxy.protocol.limits.limits import LimitedSubject, Limits, LimitSettings, Reserve, StoreFailure, Unpriced

EVERYONE = "global"
_NEEDS_FOLDER = "needs state_path, the folder in which is kept what was spent, or redis_url"
_BELOW_EXPECTED = (
    "is less than expect_output: requests that name no smaller max_tokens are refused; set expect_output as well"
)
_MODELS = "model_limits"


def read_limit_settings(values: ConfigValues) -> LimitSettings:
    """Return what holds for all requests; mistakes are added to those of the values."""
    group = values.group(LimitOptions)
    limits = Limits(group.rpm, group.tpm, group.concurrent, group.budget)
    if group.budget and not _is_kept(values):
        values.mistakes.append(f"{values.place('limits_budget')}: limits.budget {_NEEDS_FOLDER}")
    if _is_below_expected(limits, values):
        values.warnings.append(f"{values.place('limits_tpm')}: limits.tpm {_BELOW_EXPECTED}")
    return LimitSettings(
        LimitedSubject(EVERYONE, limits) if limits else None,
        Reserve(values["reserve"]),
        values["expect_output"],
        Unpriced(values["unpriced"]),
        values["budget_zone"],
        StoreFailure(values["on_store_failure"] or StoreFailure.REFUSE),
    )


def read_limited(kind: str, section: Section, options: Mapping[str, Any]) -> LimitedSubject | None:
    """Return the limits of a rule (`model`) or an `upstream`, None without any."""
    limits = _read_limits(section, options)
    if limits.budget and not _is_kept(section.values):
        section.mistake(_NEEDS_FOLDER, "budget")
    return LimitedSubject(f"{kind}:{section.name}", limits) if limits else None


def read_holder_limits(section: Section, options: Mapping[str, Any]) -> Limits:
    """Return the limits of a key or a team, with those for models."""
    fields = {**options, _MODELS: ()}
    if _MODELS in options:
        below = section.below(_MODELS)
        try:
            fields[_MODELS] = join_models(_read_models(below))
        except ValueError as error:
            below.mistake(str(error))
    return _read_limits(section, fields)


def _is_kept(values: ConfigValues) -> bool:
    """Return whether what is spent survives a restart."""
    return bool(values["state_path"] or values["redis_url"])


def _is_below_expected(limits: Limits, values: ConfigValues) -> bool:
    """Return whether a limit on tokens is smaller than what is set aside for an answer."""
    reserve = limits.reserve or values["reserve"]
    return limits.tpm is not None and 0 < limits.tpm < values["expect_output"] and reserve == Reserve.EXPECTED


def _read_models(section: Section) -> Iterator[tuple[str, Limits]]:
    for member in section.members():
        try:
            pattern = parse_pattern(member.name)
        except ValueError as error:
            member.mistake(str(error))
            continue
        yield pattern, _read_limits(member, member.parse(LIMIT_FIELDS))


def _read_limits(section: Section, fields: Mapping[str, Any]) -> Limits:
    limits = make_limits(fields)
    if _is_below_expected(limits, section.values):
        section.warning(_BELOW_EXPECTED, "tpm")
    return limits
