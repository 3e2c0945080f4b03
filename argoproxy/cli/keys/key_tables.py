"""What `keys` prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limit_fields import HOLDER_FIELDS

_LIMITS = tuple(name for name in HOLDER_FIELDS if name != "model_limits")
_COLUMNS = ("name", "id", "state", "models", "team", "limits", "expires", "key")


def print_issued(document: Json) -> None:
    """Print a key that was created or rotated: alone on standard output, for KEY=$(argoproxy keys create bob)."""
    ending = [one["ends"] for one in document["secrets"] if one["ends"]]
    others = f" (the present one goes on until {ending[0]})" if ending else ""
    sys.stderr.write(f"The key of {document['name']}, which is shown only now{others}:\n")
    sys.stderr.flush()
    sys.stdout.write(f"{document['key']}\n")


def print_key(document: Json) -> None:
    """Print a key."""
    sys.stdout.writelines(f"{line}\n" for line in _table([document]))


def print_table(document: Json) -> None:
    """Print all keys."""
    if document["data"]:
        sys.stdout.writelines(f"{line}\n" for line in _table(document["data"]))
    else:
        sys.stderr.write("There is no key yet; `create NAME` creates one.\n")


def print_history(document: Json) -> None:
    """Print a key, what is spent of its budgets, its notes, and what was done with it."""
    print_key(document)
    for spent in document["spent"]:
        sys.stdout.write(f"{printable(_describe_spent(spent))}\n")
    for name, text in document["metadata"].items():
        sys.stdout.write(f"{printable(f'{name}: {text}')}\n")
    for entry in document["history"]:
        changed = ", ".join(entry["changed"])
        line = f"{entry['at']}  {entry['action']} by {entry['actor']}  {changed}"
        sys.stdout.write(f"{printable(line).rstrip()}\n")


def print_json(document: Json) -> None:
    """Print a document as JSON."""
    sys.stdout.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")


def _table(keys: Sequence[Json]) -> Iterator[str]:
    """Yield a line for each key, below their heading."""
    rows = [_COLUMNS, *(tuple(map(printable, _cells(key))) for key in keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(key: Json) -> Iterator[str]:
    yield key["name"]
    yield key["id"]
    yield key["state"]
    yield ",".join(key["models"]) or "all"
    yield key["team"] or "-"
    yield _describe_limits(key) or "-"
    yield key["expires"] or "never"
    yield ", ".join(map(_describe_secret, key["secrets"])) or "-"


def _describe_limits(fields: Json) -> str:
    """Return limits as options set them: `rpm=60,budget=5/month gpt-*:rpm=5`."""
    set_here = (f"{name}={fields[name]}" for name in _LIMITS if fields.get(name) is not None)
    below = (f"{models}:{_describe_limits(limits)}" for models, limits in (fields.get("model_limits") or {}).items())
    return " ".join(filter(None, (",".join(set_here), *below)))


def _describe_spent(spent: Json) -> str:
    models = f" for {spent['models']}" if spent["models"] else ""
    until = f", until {spent['ends']}" if spent["ends"] else ""
    return f"budget of the {spent['of']}{models}, {spent['period']}: {spent['amount']} spent{until}"


def _describe_secret(secret: Json) -> str:
    return f"…{secret['ends_with']} until {secret['ends']}" if secret["ends"] else f"…{secret['ends_with']}"
