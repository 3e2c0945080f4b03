"""The tables, and how they are brought to the present schema by whichever process comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from argoproxy.errors import StateUnavailable

ResultT = TypeVar("ResultT")

#: The number of the advisory lock under which the schema changes; any that no other program is likely to use.
LOCK = 4_702_188_135_551

#: Numbered by their position: one that was released never changes. A new one leaves the former version of argoproxy
#: able to work with the tables, since replicas are updated one after the other.
MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE argoproxy_state (id boolean PRIMARY KEY DEFAULT true CHECK (id), generation bigint NOT NULL,
        stamp uuid NOT NULL, pepper text NOT NULL, pepper_check text NOT NULL);
    CREATE TABLE argoproxy_teams (name text PRIMARY KEY, models text NOT NULL, metadata text NOT NULL,
        limits text NOT NULL, is_declared boolean NOT NULL);
    CREATE TABLE argoproxy_keys (id text PRIMARY KEY, name text NOT NULL UNIQUE, created double precision NOT NULL,
        expires double precision, is_disabled boolean NOT NULL, models text NOT NULL, team text NOT NULL,
        metadata text NOT NULL, limits text NOT NULL, is_declared boolean NOT NULL);
    CREATE TABLE argoproxy_secrets (digest text PRIMARY KEY, key_id text NOT NULL REFERENCES argoproxy_keys (id),
        tail text NOT NULL, created double precision NOT NULL, ends double precision, request text NOT NULL);
    CREATE INDEX argoproxy_secrets_of_key ON argoproxy_secrets (key_id);
    CREATE TABLE argoproxy_audit (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at double precision NOT NULL,
        actor text NOT NULL, action text NOT NULL, key_id text NOT NULL, name text NOT NULL, changed text NOT NULL);
    CREATE INDEX argoproxy_audit_of_key ON argoproxy_audit (key_id);
    CREATE FUNCTION argoproxy_keep_audit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'audit rows stay'; END $$;
    CREATE TRIGGER argoproxy_audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON argoproxy_audit
        FOR EACH STATEMENT EXECUTE FUNCTION argoproxy_keep_audit();
    CREATE TABLE argoproxy_ledger (request_id text PRIMARY KEY, at double precision NOT NULL, key_id text NOT NULL,
        key_name text NOT NULL, team text NOT NULL, model text NOT NULL, upstream text NOT NULL, ending text NOT NULL,
        status integer NOT NULL, prompt_tokens bigint, cached_tokens bigint, completion_tokens bigint,
        reasoning_tokens bigint, cost_nanos bigint, is_estimated boolean NOT NULL);
    CREATE INDEX argoproxy_ledger_at ON argoproxy_ledger (at);
    CREATE INDEX argoproxy_ledger_of_key ON argoproxy_ledger (key_name, at);
    """,
)


_FIND_SCHEMA = (
    "SELECT 1 FROM pg_catalog.pg_tables WHERE tablename = 'argoproxy_schema'"
    " AND schemaname = ANY (current_schemas(false))"
)


class Cursor(Protocol):
    """What of a cursor is used here; psycopg's is one."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""

    def execute(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:
        """Execute a statement."""

    def executemany(self, query: str, params_seq: Any) -> None:
        """Execute a statement for each of some parameters."""

    def fetchone(self) -> Any:
        """Return the next row, None if there is none."""

    def fetchall(self) -> Any:
        """Return the rows that are left."""


class RefusedRows(StateUnavailable):
    """The database can't hold a value that it was given: waiting does not help."""


class Transactions(Protocol):
    """A database that does work in transactions. Both raise StateUnavailable."""

    def read(self, work: Callable[[Cursor], ResultT]) -> ResultT:
        """Return what work finds in one state of the database."""

    def write(self, work: Callable[[Cursor], ResultT]) -> ResultT:
        """Do work, and commit it unless an error is raised."""


class NewerTablesError(Exception):
    """A newer version of argoproxy has changed the tables in a way that this one does not know."""


def migrate(cursor: Cursor) -> None:
    """Bring the tables to the present schema. Of several processes one does it, the others wait for it. Raises
    NewerTablesError."""
    if _read_version(cursor) < len(MIGRATIONS):
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        version = _read_version(cursor)
        if version == 0:
            cursor.execute("CREATE TABLE IF NOT EXISTS argoproxy_schema (version integer NOT NULL)")
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            cursor.execute(statements)
            cursor.execute("INSERT INTO argoproxy_schema (version) VALUES (%s)", (number,))


def _read_version(cursor: Cursor) -> int:
    # Not to_regclass, which a process that waited for the lock answers from what it remembers of the catalog.
    cursor.execute(_FIND_SCHEMA)
    if cursor.fetchone() is None:
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM argoproxy_schema")
    version = int(cursor.fetchone()[0])
    if version > len(MIGRATIONS):
        raise NewerTablesError
    return version
