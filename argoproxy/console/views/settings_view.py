"""`/api/settings`: each setting, where it is set, and what becomes of a model."""

from __future__ import annotations

from argoproxy import __version__
from argoproxy.config.derived import derived_settings
from argoproxy.config.values.config_values import ConfigValues, Shown
from argoproxy.config.values.settings import BY_KEY
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.view_shapes import SettingsView, ShownSetting
from argoproxy.errors import ProxyError
from argoproxy.protocol.access.masking import STARS, mask_urls
from argoproxy.protocol.json_text import Json
from argoproxy.web.model_description import describe_model

LONGEST_NAME = 500


def show_settings(sources: Sources, model: str = "") -> SettingsView:
    """Return the settings as the workers have them; with a model, how a chat with it is served."""
    values = ConfigValues(sources.layers)
    return {
        "upstream": sources.mask(mask_urls(sources.config.description)),
        "version": __version__,
        "warnings": [sources.mask(warning) for warning in sources.config.warnings],
        "settings": [_show(one) for one in values.show(derived_settings(values))],
        "model": explain(sources, model) if model else None,
        "reason": "",
    }


def explain(sources: Sources, model: str) -> Json:
    """Return how a chat with a model is served, secrets starred."""
    try:
        described = describe_model(sources.config, model[:LONGEST_NAME])
    except ProxyError as error:
        return {"model": model[:LONGEST_NAME], "refused": error.message}
    masked: Json = sources.masker.mask_body(described)
    return masked


def _show(shown: Shown) -> ShownSetting:
    setting = BY_KEY[shown.key]
    return {
        "key": shown.key,
        "section": setting.section,
        "value": STARS if shown.is_starred else shown.value,
        "place": shown.place,
        "is_default": shown.place == "default",
        "is_starred": shown.is_starred,
        "environment": setting.environment,
        "about": setting.about,
    }
