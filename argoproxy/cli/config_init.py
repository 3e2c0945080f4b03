"""`config init`: write a small config file, with a comment for each setting."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from argoproxy.config.values.config_error import USAGE_EXIT
from argoproxy.config.values.flags import make_parser, take_settings
from argoproxy.config.values.layers import DEFAULT_FILE
from argoproxy.config.values.settings import BY_ENVIRONMENT

HEAD = """\
# Settings of argoproxy. Flags and environment variables win over this file; `argoproxy config show` prints what counts
# and where it is set, `argoproxy config validate` prints mistakes. All settings are in docs/settings.md.
"""


class Line(NamedTuple):
    """A setting of a new file: its comment, its key, its value as YAML, and whether it is left out by `#`."""

    comment: str
    key: str
    value: str
    is_off: bool = False


LINES = (
    Line("The endpoint: vLLM, llama.cpp, SGLang, Ollama …", "target_base_url", "http://localhost:8000/v1"),
    Line(
        "Its key, if it asks for one. The variable TARGET_API_KEY is a better place.",
        "target_api_key",
        "sk-the-key",
        is_off=True,
    ),
    Line("127.0.0.1 serves this machine only; 0.0.0.0 serves the network: then ask for keys.", "host", "127.0.0.1"),
    Line("The base URL for clients is http://localhost:PORT/v1.", "port", "5000"),
    Line("Ask clients for a key; without API_KEY_SECRET each start makes one.", "enable_auth", "true", is_off=True),
    Line("How long the endpoint may be silent.", "timeout", "600s", is_off=True),
    Line("A folder for a journal of all requests and answers.", "output_path", "logs", is_off=True),
)
RULES = """
# Rules for models, by name or pattern: what happens to thoughts (strip, keep, field, tags), parameters, other names.
#models:
#  "qwen*": {reasoning: strip, params: {temperature: 0.6}}
#  quick: {upstream_model_name: qwen3, params: {max_tokens: 200}}
"""
#: What takes the place of the endpoint's line.
_OTHER_ENDPOINTS = ("demo", "use_native_openai")


def main(arguments: Sequence[str], program: str) -> int:
    """Write the file, which must not exist, and return the exit status. Flags become lines of it."""
    about = f"Write a small config file, {DEFAULT_FILE} if none is named; flags become settings in it."
    settings = take_settings(vars(make_parser(program, about).parse_args(arguments)))
    path = Path(settings.file or DEFAULT_FILE)
    given = {BY_ENVIRONMENT[name].key: value for name, value in settings.variables.items()}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(make_file(given))
    except FileExistsError:
        return _refuse(f"{path} exists already and was not changed; name another file")
    except OSError as error:
        return _refuse(f"{path} can't be written: {error.strerror}")
    sys.stderr.write(f"Wrote {path}. Edit it, then start: {program.partition(' ')[0]} {path}\n")
    return 0


def make_file(given: Mapping[str, str]) -> str:
    """Return the text of a file with these values."""
    return HEAD + "".join(_write_lines(given)) + RULES


def _write_lines(given: Mapping[str, str]) -> Iterator[str]:
    has_other = any(given.get(key) for key in _OTHER_ENDPOINTS)
    for line in LINES:
        is_off = line.is_off or (has_other and line.key == "target_base_url")
        if line.key in given:
            line, is_off = line._replace(value=_as_yaml(given[line.key])), False
        yield f"\n# {line.comment}\n{'#' if is_off else ''}{line.key}: {line.value}\n"
    others = [key for key in given if key not in {line.key for line in LINES}]
    yield from (f"\n{key}: {_as_yaml(given[key])}\n" for key in others)


def _as_yaml(text: str) -> str:
    """Return a value as YAML."""
    return text if text.isascii() and text.isalnum() else json.dumps(text)


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return USAGE_EXIT
