"""`keys`: create, list, change and end the keys of clients. It works on the store of keys; the next request of a proxy
that runs here sees the change."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from argoproxy.cli.keys.key_options import KeyOptionsParser, fields_of
from argoproxy.cli.keys.key_tables import print_history, print_issued, print_json, print_key, print_table
from argoproxy.config.config import load
from argoproxy.config.shared_stores import RedisSettings
from argoproxy.config.values.config_error import USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.errors import ProxyError, StateUnavailable
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json, JsonError, loads_strict
from argoproxy.protocol.keys.key_changes import Rotation
from argoproxy.protocol.prices.money import format_amount
from argoproxy.stores.keys.key_admin import KeyAdmin, format_moment
from argoproxy.stores.keys.key_store import KeyStore
from argoproxy.stores.keys.key_transfer import AbsentKeys, export_keys, import_keys
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from argoproxy.stores.local.sqlite_ledger import SpentBudget, read_spent
from argoproxy.stores.postgres.chosen_stores import NO_FOLDER, open_key_store

FAILED_EXIT = 1


def main(arguments: Sequence[str], program: str) -> int:
    """Run `keys …` and return the exit status."""
    options = KeyOptionsParser(program).parse_args(arguments)
    try:
        command = _KeyCommand(_find_keys(options.state_path, options.config))
        command.run(options)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The keys can't be used"))
        return error.exit_status
    except ProxyError as error:
        sys.stderr.write(f"{printable(error.message)}\n")
        return USAGE_EXIT if error.status in (400, 404) else FAILED_EXIT
    return 0


def _find_keys(path: str, config_file: str) -> _KeyPlace:
    """Return where keys are. A folder that is named needs no settings. Raises ConfigError."""
    here = Path.cwd()
    if path:
        folder = here / Path(path).expanduser()
        return _KeyPlace(SqliteKeys(folder), folder)
    environ = {**os.environ, **({"CONFIG_PATH": str(here / config_file)} if config_file else {})}
    config = load(environ, here)
    if config.managed is None:
        raise ConfigError([NO_FOLDER])
    return _KeyPlace(open_key_store(config), config.managed.folder, config.requires_key, config.redis)


class _KeyPlace(NamedTuple):
    """The keys, the folder of this host's counters, whether the settings are known to ask for keys, and where limits
    are counted for several hosts."""

    store: KeyStore
    folder: Path
    asks_for_keys: bool = True
    redis: RedisSettings | None = None


class _KeyCommand:
    """The words of the command, on one store of keys."""

    def __init__(self, place: _KeyPlace) -> None:
        self._store, self._folder, self._redis = place.store, place.folder, place.redis
        self._actor = f"cli:{_user()}"
        self._admin = KeyAdmin(self._store, self._actor)
        self._asks_for_keys = place.asks_for_keys

    def run(self, options: Any) -> None:
        """Run the word that was typed, and print what it returns. Raises ProxyError, ConfigError."""
        document = getattr(self, f"run_{options.word}")(options)
        show = print_json if options.json else PRINTERS[options.word]
        show(document)

    def run_create(self, options: Any) -> Json:
        """Create a key, and the folder if there is none."""
        self._store.create()
        issued = self._admin.create(options.name, fields_of(options))
        if not self._asks_for_keys:
            sys.stderr.write("warning: the proxy asks for no key; set enable_auth: true\n")
        return issued

    def run_list(self, options: Any) -> Json:
        """Return all keys."""
        return self._admin.list_all()

    def run_show(self, options: Any) -> Json:
        """Return a key, what is spent of its budgets, and its history."""
        document = self._admin.show(options.name)
        return {**document, "spent": self._describe_spent(document)}

    def _describe_spent(self, document: Json) -> list[Json]:
        """Return what is spent of the budgets of a key and its team; nothing if it can't be read now."""
        subjects = [f"key:{document['id']}", *([f"team:{document['team']}"] if document["team"] else [])]
        try:
            now = time.time()
            spent = [one for subject in subjects for one in self._read_spent(subject, now)]
        except StateUnavailable as error:
            sys.stderr.write(f"warning: {printable(error.message)}\n")
            return []
        return [describe_spent(one) for one in spent]

    def _read_spent(self, subject: str, now: float) -> Sequence[SpentBudget]:
        """Return what is spent of the budgets of a subject, by all replicas if they share limits. Raises
        StateUnavailable."""
        if self._redis is None:
            return read_spent(self._folder, subject, now)
        from argoproxy.stores.redis.open_redis import read_shared_spent  # noqa: PLC0415 redis-py, only where it is used

        return read_shared_spent(self._redis, subject, now)

    def run_set(self, options: Any) -> Json:
        """Change fields of a key."""
        fields = fields_of(options)
        if not fields:
            raise ConfigError(["nothing to set: name a field, such as --models (argoproxy keys set --help)"])
        return self._admin.change(options.name, fields)

    def run_rotate(self, options: Any) -> Json:
        """Give a key a new secret."""
        return self._admin.rotate(options.name, Rotation(options.overlap, options.replace_new))

    def run_disable(self, options: Any) -> Json:
        """Refuse a key from now on."""
        return self._admin.change(options.name, {"disabled": True})

    def run_import(self, options: Any) -> Json:
        """Read keys from a file."""
        document = _read_document(options.file)
        self._store.create()
        absent = AbsentKeys.DISABLED if options.prune else AbsentKeys.KEPT
        return import_keys(self._store, self._actor, document, absent)

    def run_export(self, options: Any) -> Json:
        """Return all keys, without any text that could be used."""
        return export_keys(self._store)


#: What prints the documents of a word, unless they are to be JSON.
PRINTERS: Mapping[str, Callable[[Json], None]] = {
    "create": print_issued,
    "list": print_table,
    "show": print_history,
    "set": print_key,
    "rotate": print_issued,
    "disable": print_key,
    "import": print_json,
    "export": print_json,
}


def describe_spent(spent: SpentBudget) -> Json:
    """Return what is spent of a budget: of the `key` or its `team`, and for which models."""
    holder, _, models = spent.subject.partition("/model:")
    return {
        "of": holder.partition(":")[0],
        "models": models or None,
        "period": spent.period,
        "amount": format_amount(spent.nanos),
        "ends": format_moment(spent.ends_at),
    }


def _read_document(name: str) -> Any:
    """Return the JSON of a file, or of standard input for `-`. Raises ConfigError."""
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return loads_strict(text)
    except OSError as error:
        raise ConfigError([f"{name} can't be read: {error.strerror}"]) from None
    except JsonError as error:
        raise ConfigError([f"{name} is not JSON: {error}"]) from None


def _user() -> str:
    """Return the user who runs the command, also behind sudo."""
    environ: Mapping[str, str] = os.environ
    try:
        return environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())
