"""Waits for many upstreams at once and prints how many of them spoke: `python -m tests.transport.many_waits KIND N`."""

from __future__ import annotations

import sys
from typing import Any

KIND, COUNT = sys.argv[1], int(sys.argv[2])
if KIND == "gevent":
    from gevent import monkey

    monkey.patch_all()

import resource  # noqa: E402 after gevent has patched the standard library
import socket  # noqa: E402
import threading  # noqa: E402

from argoproxy.errors import ClientGone, Stopping  # noqa: E402
from argoproxy.transport.watch import Poller, Watch  # noqa: E402

PATIENCE_S = 60.0


def wait(watch: Watch, upstream: socket.socket, seen: list[str], spoken: threading.Semaphore) -> None:
    """Wait for an upstream to speak, then for its client to leave, or the process to stop."""
    try:
        seen.append("spoke" if watch.wait(upstream, PATIENCE_S) else "late")
        upstream.recv(1)
        spoken.release()
        seen.append("spoke" if watch.wait(upstream, PATIENCE_S) else "late")
    except ClientGone:
        seen.append("left")
    except Stopping:
        seen.append("stopped")
    finally:
        watch.close()


def main() -> None:
    """Have all speak once all are waited for, half of the clients leave, and the others end as the process stops."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.stack_size(256 * 1024)
    poller, seen, ends, threads = Poller(), list[str](), [], list[Any]()
    spoken = threading.Semaphore(0)
    for _ in range(COUNT):
        ours, client = socket.socketpair()
        upstream, theirs = socket.socketpair()
        ends.append((ours, client, upstream, theirs))
        watch = Watch(ours, poller)
        assert watch.wait(upstream, 0) == 0
        threads.append(threading.Thread(target=wait, args=(watch, upstream, seen, spoken), daemon=True))
        threads[-1].start()
    for _, _, _, theirs in ends:
        theirs.send(b"x")
    for _ in ends:
        spoken.acquire()
    for _, client, _, _ in ends[::2]:
        client.close()
    for thread in threads[::2]:
        thread.join()
    poller.stop()
    for thread in threads:
        thread.join()
    print(*(f"{word} {seen.count(word)}" for word in ("spoke", "left", "stopped", "late")))


main()
