"""`models`: the models that clients may ask for, with the other names of each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

from argoproxy.cli.model_catalog import Catalog, ask_proxy, ask_upstreams
from argoproxy.cli.serve import read_environment
from argoproxy.config.config import build
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import make_parser, take_settings
from argoproxy.config.values.layers import read_layers
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json
from argoproxy.server.banner import own_url
from argoproxy.server.runtime import pid_at

ABOUT = """\
Print the models that clients may ask for, one in a line, with its upstream and its other names. The proxy that runs at
the port is asked; if there is none, or flags name other settings, the upstreams are. No model is run."""
FAILED_EXIT = 1
#: Flags that say where the proxy is, not which upstreams it has.
_ADDRESS = {"HOST", "PORT"}


def main(arguments: Sequence[str], program: str) -> int:
    """Run `models` and return the exit status: 1 if there is no list, or one that lacks models of an upstream."""
    parser = make_parser(program, ABOUT)
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    options = vars(parser.parse_args(arguments))
    flags = take_settings(options)
    environ, folder = read_environment(flags)
    try:
        layers = read_layers(environ, folder)
        config = build(layers, environ, folder)
        url = "" if set(flags.variables) - _ADDRESS else own_url(config)
        is_running = bool(url) and pid_at(config.server.port) is not None
        catalog = ask_proxy(config, url) if is_running else ask_upstreams(config, layers)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The models can't be listed"))
        return error.exit_status
    for problem in catalog.problems:
        fix = f"\n  fix: {printable(problem.fix)}" if problem.fix else ""
        sys.stderr.write(f"{printable(problem.text)}{fix}\n")
    sys.stdout.writelines(f"{line}\n" for line in (_as_json(catalog) if options["as_json"] else _as_table(catalog)))
    return FAILED_EXIT if catalog.has_failed else 0


def _as_json(catalog: Catalog) -> Iterator[str]:
    document = {"object": "list", "source": catalog.source, "data": catalog.entries}
    yield json.dumps(document, ensure_ascii=False, indent=2)


def _as_table(catalog: Catalog) -> Iterator[str]:
    names, upstreams = ([printable(entry[key]) for entry in catalog.entries] for key in ("id", "upstream"))
    widths = [max(map(len, column), default=0) for column in (names, upstreams)]
    for name, upstream, entry in zip(names, upstreams, catalog.entries, strict=True):
        yield f"{name:<{widths[0]}}  {upstream:<{widths[1]}}  {printable(_describe_names(entry))}".rstrip()


def _describe_names(entry: Json) -> str:
    if "upstream_model" in entry:
        return f"is {entry['upstream_model'] or entry['id']} with settings of its own"
    return f"also {', '.join(entry['aliases'])}" if entry["aliases"] else ""
