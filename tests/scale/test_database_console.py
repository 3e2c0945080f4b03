"""What the console shows of keys and usage that replicas keep in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

from argoproxy.console.views.keys_view import KeyBooks
from argoproxy.console.views.totals import Totals
from argoproxy.console.views.usage_view import read_today, show_usage
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.postgres.chosen_stores import open_key_store
from argoproxy.stores.postgres.postgres_ledger import write_entries
from tests.scale.engines import Postgres, need_package
from tests.support.console_sources import make_sources

need_package("psycopg")

NOW = 1_790_000_000.0
ENTRY = LedgerEntry("r1", NOW, "k", "bob", "crew", "m1", "up", "complete", 200, 3, 0, 7, 0, 5_000_000_000)


def test_the_console_shows_the_keys_and_the_usage_of_all_replicas(tmp_path: Path, postgres: Postgres) -> None:
    sources = make_sources(tmp_path, f"database_url: {postgres.url}\nstate_path: state\nenable_auth: true\n")
    settings = sources.config.database
    assert settings
    admin, books = KeyAdmin(open_key_store(sources.config), "test"), KeyBooks()
    admin.create("bob", {})
    book, reason = books.read(sources)
    assert (list(book.keys), reason) == (["bob"], "")
    admin.change("bob", {"disabled": True})
    assert books.read(sources)[0].keys["bob"].is_disabled
    from argoproxy.stores.postgres.postgres_server import PostgresServer  # noqa: PLC0415 where the package is missing, the test is skipped

    PostgresServer(settings).write(lambda cursor: write_entries(cursor, [ENTRY]))
    today, reason = read_today(sources, NOW)
    assert (today["bob"]["tokens_out"], reason) == (7, "")
    shown = show_usage(sources, Totals(), {"by": "day", "since": "30d"}, NOW)
    assert [row["requests"] for row in shown["rows"]] == [1]
