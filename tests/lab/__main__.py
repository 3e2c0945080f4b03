"""Judge any door: `python -m tests.lab URL --listen PORT` plays the upstream, the door must ask `http://127.0.0.1:PORT`.

The door's time-outs, to the first byte and between bytes, should be a second; doors that take thoughts out are told by
`--strips`. Ends with 1 when a client saw what it should not have seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import openai

from tests.lab.judge import (
    Case,
    Door,
    ask,
    ask_by_the_sdk,
    cases,
    complaints,
    complaints_of_the_sdk,
    is_served,
    official_client,
)
from tests.support.processes import Upstream


def verdict(door: Door, client: openai.OpenAI, case: Case) -> Iterator[str]:
    """Tell everything that is wrong with a door in one case."""
    try:
        yield from complaints(door, case, ask(door, case))
        yield from complaints_of_the_sdk(door, case, ask_by_the_sdk(door, client, case))
        if not is_served(door):
            yield "nobody is served afterwards"
    except Exception as error:  # noqa: BLE001 a door may do anything
        yield f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.lab", description=__doc__)
    parser.add_argument("url", help="where the door listens, without /v1")
    parser.add_argument("--listen", type=int, default=9000, metavar="PORT", help="where its upstream is played")
    parser.add_argument("--strips", action="store_true", help="the door takes thoughts out")
    parser.add_argument("--any-code", action="store_true", help="don't compare the codes of errors")
    asked = parser.parse_args()
    upstream = Upstream(port=asked.listen)
    url = asked.url.rstrip("/")
    door = Door(
        url, asked.strips, lambda steps, body: upstream.script(*steps, body=body), upstream.strike, not asked.any_code
    )
    failed = 0
    with upstream, official_client(door) as client:
        for case in (case for case in cases() if not case.fault.is_of_tls):
            found = list(verdict(door, client, case))
            failed += bool(found)
            print(f"{'BAD ' if found else 'ok  '} {case}", *found, sep="\n       ", flush=True)
    print(f"{failed} bad")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
