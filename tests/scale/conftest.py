from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scale.engines import Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the tests of a module share."""
    running = Postgres()
    yield running
    running.stop()
