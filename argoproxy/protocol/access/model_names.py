"""Where a request can name a model besides the key `model` of its body, as common servers and frameworks read it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_plus

#: Keys of a body that name models: `models` and `fallbacks` are lists of further ones (OpenRouter, LiteLLM), and
#: servers that match keys without regard to case (Go's encoding/json) read `Model` as `model`.
_KEYS = frozenset(("model", "models", "modellist", "fallbacks"))
_QUERY_WORDS = ("model", "deployment", "engine")
#: Segments that are followed by a model's name: Azure, OpenAI's old engines, Gemini, Bedrock, Hugging Face.
_PATH_WORDS = frozenset(("model", "models", "deployment", "deployments", "engine", "engines"))
#: Words and versions. Names of models have digits, dots or colons nearly always, ids of things too.
_PLAIN_PATH = re.compile(r"(?:/(?:v\d{1,4}(?:(?:alpha|beta)\d{0,4})?|[A-Za-z][A-Za-z_-]*))+/?")
_WITHOUT_A_MODEL = re.compile(r"(?:/v1)?/(?:files|uploads|batches)(?:/[A-Za-z0-9_-]+)*/?")


def needs_no_model(path: str) -> bool:
    """Whether a path is one of files, uploads or batches, plainly written."""
    return bool(_WITHOUT_A_MODEL.fullmatch(path))


def other_model_key(keys: Iterable[str]) -> str | None:
    """Return the first key that could name a model and is not `model` itself."""
    return next((key for key in keys if key != "model" and _folded(key.partition("[")[0]) in _KEYS), None)


def path_may_name_a_model(path: str) -> bool:
    """Whether a path names a model, or has segments that are no plain words and could be one."""
    return not _PLAIN_PATH.fullmatch(path) or not _PATH_WORDS.isdisjoint(path.lower().split("/"))


def query_names_a_model(query: str) -> bool:
    """Whether a parameter of a query is called like a model."""
    names = (_folded(_decoded(part.partition("=")[0])) for part in re.split("[&;]", query))
    return any(word in name for name in names for word in _QUERY_WORDS)


def _folded(name: str) -> str:
    """Return a name without case, separators and invisible characters."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def _decoded(text: str) -> str:
    """Return a text without its escapes; some servers decode twice."""
    return unquote_plus(unquote_plus(text))
