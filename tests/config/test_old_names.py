"""Names that are in use outside: every key, variable and flag that ever was a setting stays one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from argoproxy.config.config import Config, load
from argoproxy.config.values.flags import parse_arguments
from argoproxy.config.values.settings import IGNORED

#: Every setting of version 0.3: key, variable, and a value that is not the default, with the settings it needs.
OLD_SETTINGS: list[tuple[str, str, str, dict[str, str]]] = [
    ("host", "HOST", "127.0.0.1", {}),
    ("port", "PORT", "81", {}),
    ("num_workers", "WORKERS", "7", {}),
    ("threads", "THREADS", "7", {}),
    ("worker_class", "WORKER_CLASS", "sync", {}),
    ("demo", "DEMO", "true", {}),
    ("target_base_url", "TARGET_BASE_URL", "http://target", {}),
    ("target_api_key", "TARGET_API_KEY", "sk-a", {"target_base_url": "http://target"}),
    ("openai_base_url", "OPENAI_BASE_URL", "http://openai", {}),
    ("openai_api_key", "OPENAI_API_KEY", "sk-a", {}),
    ("argo_url", "ARGO_URL", "http://argo/chat", {"user": "me"}),
    ("argo_stream_url", "ARGO_STREAM_URL", "http://argo/stream", {"user": "me"}),
    ("argo_embedding_url", "ARGO_EMBEDDING_URL", "http://argo/embed", {"user": "me"}),
    ("argo_base_url", "ARGO_BASE_URL", "http://argo", {"user": "me"}),
    ("user", "ARGO_USER", "me", {}),
    ("username_passthrough", "USERNAME_PASSTHROUGH", "true", {"user": "me"}),
    ("use_native_openai", "USE_NATIVE_OPENAI", "true", {}),
    ("native_openai_base_url", "NATIVE_OPENAI_BASE_URL", "http://native", {"use_native_openai": "true"}),
    ("enable_auth", "ENABLE_AUTH", "true", {"api_key_secret": "sk-a"}),
    ("api_key_secret", "API_KEY_SECRET", "sk-a", {"enable_auth": "true"}),
    ("allowed_models", "ALLOWED_MODELS", "a,b*", {}),
    ("allow_unknown_routes", "ALLOW_UNKNOWN_ROUTES", "true", {"allowed_models": "a"}),
    ("cors_origins", "CORS_ORIGINS", "https://app.example", {}),
    ("metrics_open", "METRICS_OPEN", "true", {}),
    ("mode", "MODE", "stream", {}),
    ("ask_usage", "ASK_USAGE", "true", {}),
    (
        "model_map",
        "MODEL_MAP",
        "gpt-4=qwen-max",
        {"target_base_url": "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation"},
    ),
    ("default_model", "DEFAULT_MODEL", "m", {}),
    ("answer_model", "ANSWER_MODEL", "asked", {}),
    ("llm_params", "LLM_PARAMS", "model=a,n=1", {}),
    ("inline_images", "INLINE_IMAGES", "true", {}),
    ("image_timeout", "IMAGE_TIMEOUT", "7", {}),
    ("concurrent_downloads", "CONCURRENT_DOWNLOADS", "7", {}),
    ("image_on_error", "IMAGE_ON_ERROR", "keep", {}),
    ("image_allow_private", "IMAGE_ALLOW_PRIVATE", "true", {}),
    ("enable_payload_control", "ENABLE_PAYLOAD_CONTROL", "true", {}),
    ("max_payload_size", "MAX_PAYLOAD_SIZE", "7", {"enable_payload_control": "true"}),
    ("think_filter", "THINK_FILTER", "false", {}),
    ("think_tag", "THINK_TAG", "[", {}),
    ("think_end_tag", "THINK_END_TAG", "]", {}),
    ("think_starts_open", "THINK_STARTS_OPEN", "auto", {}),
    ("timeout", "API_REQUEST_TIMEOUT", "7", {}),
    ("connect_timeout", "CONNECT_TIMEOUT", "7", {}),
    ("first_byte_timeout", "FIRST_BYTE_TIMEOUT", "7", {}),
    ("idle_timeout", "IDLE_TIMEOUT", "7", {}),
    ("total_timeout", "TOTAL_TIMEOUT", "7", {}),
    ("heartbeat", "HEARTBEAT", "7", {}),
    ("early_heartbeat", "EARLY_HEARTBEAT", "true", {}),
    ("client_header_timeout", "CLIENT_HEADER_TIMEOUT", "7", {}),
    ("client_body_timeout", "CLIENT_BODY_TIMEOUT", "7", {}),
    ("max_body_size", "MAX_BODY_SIZE", "7", {}),
    ("client_write_timeout", "CLIENT_WRITE_TIMEOUT", "7", {}),
    ("drain_delay", "DRAIN_DELAY", "7", {}),
    ("graceful_timeout", "GRACEFUL_TIMEOUT", "7", {}),
    ("skip_url_validation", "SKIP_URL_VALIDATION", "true", {}),
    ("compatible", "COMPATIBLE", "true", {}),
    ("output_path", "OUTPUT_PATH", "journal", {}),
    ("journal_bodies", "JOURNAL_BODIES", "meta", {"output_path": "journal"}),
    ("journal_max_bytes", "JOURNAL_MAX_BYTES", "4096", {"output_path": "journal"}),
    ("journal_files", "JOURNAL_FILES", "7", {"output_path": "journal"}),
    ("verbose", "VERBOSE", "false", {}),
    ("debug", "DEBUG", "true", {}),
]
#: Settings of the file alone.
OLD_SECTIONS = {
    "upstreams": {"a": {"kind": "demo"}},
    "models": {"m": {"params": {"n": 1}}},
    "authenticate": "module:Class",
    "listeners": ["module:Class"],
}
#: Keys of later argo-proxy files.
OLD_IGNORED = set(
    "config_version real_stream pseudo_stream use_legacy_argo force_conversion dev_mode collect_leaked_logs no_banner "
    "use_native_anthropic native_anthropic_base_url anthropic_stream_mode tool_prompt provider_tool_format "
    "enable_leaked_tool_fix resolve_overrides connection_test_timeout socket logging_level log_to_file max_log_history "
    "model_refresh_interval_hours dump_requests dump_dir".split()
)
#: Every flag that stands for a setting, with the variable and the value that it stands for.
OLD_FLAGS = [
    (["--demo"], {"DEMO": "true"}),
    (["--url", "http://u"], {"TARGET_BASE_URL": "http://u"}),
    (["--host", "h"], {"HOST": "h"}),
    (["--expose_host", "h"], {"HOST": "h"}),
    (["--port", "81"], {"PORT": "81"}),
    (["--expose_port", "81"], {"PORT": "81"}),
    (["--native-openai"], {"USE_NATIVE_OPENAI": "true"}),
    (["--username-passthrough"], {"USERNAME_PASSTHROUGH": "true"}),
    (["--mode", "stream"], {"MODE": "stream"}),
    (["--timeout", "5000"], {"API_REQUEST_TIMEOUT": "5000ms"}),
    (["--output_path", "d"], {"OUTPUT_PATH": "d"}),
    (["--output-path", "d"], {"OUTPUT_PATH": "d"}),
    (["--compatible"], {"COMPATIBLE": "true"}),
    (["--verbose"], {"VERBOSE": "true"}),
    (["--quiet"], {"VERBOSE": "false"}),
]


def from_file(folder: Path, settings: dict[str, object]) -> Config:
    (folder / "config.yaml").write_text(json.dumps(settings))
    return replace(load({}, folder), warnings=())


def from_environment(folder: Path, settings: dict[str, str]) -> Config:
    (folder / "config.yaml").unlink(missing_ok=True)
    variables = {key: variable for key, variable, _, _ in OLD_SETTINGS}
    return replace(load({variables[key]: value for key, value in settings.items()}, folder), warnings=())


@pytest.mark.parametrize(
    ("key", "value", "others"),
    [(key, value, others) for key, _, value, others in OLD_SETTINGS],
    ids=[key for key, *_ in OLD_SETTINGS],
)
def test_an_old_setting_counts_in_the_file_and_in_the_environment(
    tmp_path: Path, key: str, value: str, others: dict[str, str]
) -> None:
    configured = from_file(tmp_path, {**others, key: value})
    assert configured == from_environment(tmp_path, {**others, key: value})
    assert key == "api_key_secret" or configured != from_file(tmp_path, dict(others)), "it changes something"


@pytest.mark.parametrize("key", OLD_SECTIONS)
def test_an_old_section_counts(tmp_path: Path, key: str) -> None:
    assert from_file(tmp_path, {key: OLD_SECTIONS[key]}) != from_file(tmp_path, {})


def test_keys_of_later_argo_proxy_files_are_accepted() -> None:
    assert set(IGNORED) >= OLD_IGNORED


@pytest.mark.parametrize(("arguments", "variables"), OLD_FLAGS, ids=[flag[0] for flag, _ in OLD_FLAGS])
def test_an_old_flag_stands_for_its_variable(arguments: list[str], variables: dict[str, str]) -> None:
    assert parse_arguments(arguments, "argo-proxy").variables == variables
