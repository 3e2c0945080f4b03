"""What all requests of a process share to fetch and decode images."""

from __future__ import annotations

from dataclasses import dataclass, field

from argoproxy.transport.connect import Resolver
from argoproxy.transport.parallel import Threads

#: Images that a process fetches at once, for all requests together.
MOST_FETCHES = 128
#: Images that a process decodes at once: one may take half a gigabyte of memory.
MOST_DECODED = 2


@dataclass(frozen=True, slots=True)
class ImageWorkers:
    """Shared by all requests of a process: the threads that fetch and decode, and the resolver."""

    decoding: Threads = field(default_factory=lambda: Threads(MOST_DECODED))
    fetches: Threads = field(default_factory=lambda: Threads(MOST_FETCHES))
    names: Resolver = field(default_factory=Resolver)
