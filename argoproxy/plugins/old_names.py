"""Names that plug-ins used before `argoproxy.api` existed, so that classes written then still work.

Three things are translated: modules that have moved, functions and classes that have a new name in `argoproxy.api`, and
the methods of an upstream. Nothing new is added here; docs/extending.md says what to write instead.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from argoproxy.upstreams import Reply

logger = logging.getLogger("argoproxy")

#: Modules that the documentation and the examples imported from.
MODULES = frozenset(
    f"argoproxy.{name}"
    for name in (
        "outcome",
        "protocol.auth",
        "protocol.call",
        "protocol.chunks",
        "protocol.exchange",
        "protocol.filters",
        "protocol.sse",
        "upstreams.failures",
    )
)
#: Old names of what these modules held, with the new ones.
NAMES = {
    "ReadBody": "BytesBody",
    "Decoder": "EventDecoder",
    "assemble": "assemble_completion",
    "call_of": "make_call",
    "check_size": "check_reply_size",
    "data_of": "event_data",
    "decode": "decode_events",
    "header": "get_header",
    "index_of": "choice_index",
    "indexed": "iterate_choices",
    "loaded": "loads_or_none",
    "refusal": "error_from_reply",
    "split": "split_completion",
    "through": "apply_filters",
    "told_inside": "error_in_success",
    "written": "encode_json",
}
#: Methods of an upstream, with their old names.
METHODS = {
    "completion_request": "request",
    "read_completion": "batches",
    "read_error": "error",
    "aliases": "spellings",
    "embedding_requests": "embed_requests",
    "read_embeddings": "embeddings",
    "model_list_request": "models_request",
    "read_model_list": "listing",
    "static_models": "own_models",
    "probe_request": "probe",
    "forward_request": "forward",
}


class OldModules(MetaPathFinder, Loader):
    """Imports a module that no longer exists as one that holds the public API under its new and its old names."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        from argoproxy import api  # noqa: PLC0415 loaded only if a plug-in needs it

        logger.warning("a plug-in imports %s, which is deprecated: import from argoproxy.api", module.__name__)
        public = {name: getattr(api, name) for name in api.__all__}
        vars(module).update(public, **{old: public[new] for old, new in NAMES.items()})


def install_old_modules() -> None:
    """Let old imports work, after all other ways to find a module."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())


def find_method(plugin: object, name: str) -> Any:
    """Return an upstream's method under its new or its old name; None if it has neither."""
    method = getattr(plugin, name, None)
    if callable(method):
        return method
    method = getattr(plugin, METHODS.get(name, name), None)
    if not callable(method):
        return None
    return _with_old_reply(method) if name == "read_completion" else method


def missing_methods(members: Sequence[str], required: Sequence[str]) -> list[str]:
    """Return the required methods that a class does not define, under neither name."""
    return [name for name in required if name not in members and METHODS.get(name, name) not in members]


class _OldReply:
    """A Reply whose body can also be read by the old names of iter_bytes and iter_raw."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reply, {"pieces": "iter_bytes", "untouched": "iter_raw"}.get(name, name))


def _with_old_reply(batches: Any) -> Any:
    def read_completion(reply: Reply, call: Any) -> Iterator[Any]:
        return iter(batches(_OldReply(reply), call))

    return read_completion
