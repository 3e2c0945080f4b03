"""What managed keys cost: a look-up, a start, a change, with so many keys (10,000, or the first argument)."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from argoproxy.errors import AuthenticationError
from argoproxy.protocol.keys.key_token import digest_of
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.key_ring import KeyRing
from argoproxy.stores.keys.key_transfer import AbsentKeys, import_keys
from argoproxy.stores.keys.sqlite_keys import SqliteKeys


def measure(name: str, work: Callable[[], Any], times: int = 1) -> Any:
    """Run work once, which does something so many times, and print how long each time took."""
    started = time.perf_counter()
    result = work()
    elapsed_s = (time.perf_counter() - started) / times
    print(f"{name:<44} {f'{elapsed_s * 1e6:.1f} us' if elapsed_s < 1e-3 else f'{elapsed_s:.3f} s'}")
    return result


def main(count: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        run(SqliteKeys(Path(folder)), [secrets.token_urlsafe(32) for _ in range(count)])


def run(store: SqliteKeys, texts: list[str]) -> None:
    """Measure with these keys."""
    store.create()
    fields = {"models": ["m*"], "rpm": 60, "tpm": 100_000, "budget": "5/month"}
    document = {"keys": [{"name": f"k{number}", "key": text, **fields} for number, text in enumerate(texts)]}
    print(f"{len(texts)} keys")
    measure("import all", lambda: import_keys(store, "benchmark", document, AbsentKeys.KEPT))
    measure("start of the master", store.create)
    ring = measure("start of a worker", lambda: KeyRing(store.folder, []))
    measure("change one", lambda: KeyAdmin(store, "benchmark").change("k0", {"disabled": True}))
    measure("first request after a change", ring.refresh)
    measure_requests(ring, texts, store.folder)


def measure_requests(ring: KeyRing, texts: list[str], folder: Path) -> None:
    """Measure what each request costs."""
    headers = [(("Authorization", f"Bearer {text}"),) for text in texts[1:]]
    index, pepper, now = key_files.read_snapshot(folder), key_files.read_pepper(folder), time.time()
    for name in ("look-up, the first of each key", "look-up"):
        measure(name, lambda: [index.find(digest_of(pepper, text.encode()), now) for text in texts], len(texts))
    measure("authenticate: headers, stat, look-up", lambda: [ring.authenticate(one) for one in headers], len(headers))

    def refuse() -> None:
        for _ in texts:
            with suppress(AuthenticationError):
                ring.authenticate((("Authorization", "Bearer unknown"),))

    measure("refuse an unknown key", refuse, len(texts))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
