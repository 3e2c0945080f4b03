"""The thread that writes down what has happened: whenever it is woken, it writes once more."""

from __future__ import annotations

import time
from queue import SimpleQueue

import pytest

from argoproxy.stores.local import usage_writer
from argoproxy.stores.local.usage_writer import UsageWriter

PATIENCE_S = 60


def test_one_that_is_woken_while_it_only_looks_writes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks by itself now and then, and waits for more before that: what comes in that time is not forgotten."""
    monkeypatch.setattr(usage_writer, "LOOK_S", 0.001)
    monkeypatch.setattr(usage_writer, "GATHER_S", 0.1)
    written, looked = SimpleQueue[None](), SimpleQueue[None]()
    writer = UsageWriter(lambda: written.put(None), lambda: looked.put(None), 1.0)
    try:
        for _ in range(3):
            writer.wake()
            written.get(timeout=PATIENCE_S)
            for _ in range(looked.qsize() + 1):
                looked.get(timeout=PATIENCE_S)
            time.sleep(0.05)  # now it waits, most probably; whatever it does, it must write once more
    finally:
        writer.stop()
