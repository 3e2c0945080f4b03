"""Places in memory, their limits, and those who take them."""

from __future__ import annotations

from contextlib import nullcontext
from mmap import mmap

from argoproxy.protocol.resilience.waiting import PlaceLimits, Pool
from argoproxy.shared_state.place_table import SIZE, PlaceTable
from argoproxy.shared_state.upstream_places import Ticket, UpstreamPlaces

GPU = PlaceLimits((Pool(10, 2),), queue_size=2, wait_s=10)
SPARE = PlaceLimits((Pool(20, 1),), queue_size=2, wait_s=10)
A, B = 1, 2


def make_places(memory: mmap | None = None, slot: int = 0, *dead: int) -> UpstreamPlaces:
    table = PlaceTable(memoryview(memory or mmap(-1, SIZE)))
    places = UpstreamPlaces(table, slot, nullcontext, lambda slots: set(dead) & set(slots))
    places.most_waiting = 100
    return places


def take(places: UpstreamPlaces, *options: PlaceLimits, key: int = A) -> Ticket:
    ticket = places.take(key, options or (GPU,))
    assert ticket
    return ticket
