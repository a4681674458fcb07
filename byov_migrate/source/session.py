"""Sessions that only read, and leave no trace in a pooler: every setting lives and ends with its transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import psycopg
from psycopg import sql
from psycopg.abc import QueryNoTemplate

from byov_migrate.config import SourceConfig
from byov_migrate.errors import PersonNeeded, Retriable
from byov_migrate.source.address import Address, locate
from byov_migrate.source.faults import connect_fault, translated
from byov_migrate.source.windows import parse_lsn

Isolation: TypeAlias = Literal["repeatable read"]
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

OLDEST_VERSION = 130000
STATEMENT_TIMEOUT_S = 600
BATCH_ROWS = 5000

# One simple query, so that all of it reaches the server that the pooler has just given us. The text forms of values,
# hence keys and hashes, hang on these settings: changing one changes what earlier runs have stored.
_BEGIN = sql.SQL("""
BEGIN {isolation} READ ONLY;
SET LOCAL search_path = pg_catalog;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL lc_monetary = 'C';
SET LOCAL xmloption = 'content';
SET LOCAL application_name = 'byov-migrate';
SET LOCAL lock_timeout = '10s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL statement_timeout = {statement_timeout}
""")


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open read-only transaction."""

    connection: Connection

    def fetch(self, query: QueryNoTemplate, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. A `%` in its text is written twice, in names too (see `statements.name`)."""
        with self.connection.cursor(binary=True) as cursor:
            return cursor.execute(query, parameters).fetchall()

    def stream(
        self, query: QueryNoTemplate, parameters: Sequence[object] = (), batch_rows: int = BATCH_ROWS
    ) -> Iterator[tuple[Any, ...]]:
        """As `fetch`, without ever holding more than `batch_rows` rows; to be drained before the transaction ends.

        The reader has `idle_in_transaction_session_timeout` for what it does between two batches.
        """
        # Planned for all rows: a cursor is else expected to be left after a tenth, and an index may look too dear.
        self.connection.execute("SET LOCAL cursor_tuple_fraction = 1.0")
        with self.connection.cursor(name="byov_stream") as cursor:
            cursor.itersize = batch_rows
            yield from cursor.execute(query, parameters, binary=True)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A savepoint: a query that fails inside leaves the transaction usable. psycopg's error passes through."""
        with self.connection.transaction():
            yield


class Session:
    """A connection that is opened again, with the DSN read anew, when it was lost between two transactions."""

    def __init__(self, opener: Callable[[], tuple[Connection, Address]]) -> None:
        self._opener = opener
        self._floor = 0
        self._connection, self.address = opener()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        self._connection.close()

    @property
    def server_version(self) -> int:
        """As PostgreSQL numbers it: 150018 is 15.18."""
        return self._connection.info.server_version

    @contextmanager
    def transaction(
        self, isolation: Isolation | None = None, *, statement_timeout_s: int = STATEMENT_TIMEOUT_S
    ) -> Iterator[Transaction]:
        """`BEGIN READ ONLY` with our settings, then COMMIT, or ROLLBACK after an error.

        statement_timeout_s: 0 is without limit. Raise the classes of `errors`, never psycopg's.
        """
        with translated(self.address):
            connection = self._begin(_begin_text(isolation, statement_timeout_s))
            try:
                yield Transaction(connection)
            except BaseException:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def require_replayed(self, lsn: str) -> None:
        """From now on every server that this session meets must hold what was read before, up to `lsn`.

        Raise Retriable, with the connection closed, where a replica has not replayed it yet: another try may meet
        another replica of a balancer, or the same one later. A primary always passes: see `replica.went_back`.
        """
        self._floor = max(self._floor, parse_lsn(lsn))
        if not self._connection.closed:
            with translated(self.address):
                self._require_floor()

    def replay_gap(self, lsn: str) -> int:
        """Bytes of WAL that the server has still to replay until it holds `lsn`; 0 on a primary."""
        with self.transaction() as transaction:
            return _missing_bytes(transaction.connection, parse_lsn(lsn))

    def _require_floor(self) -> None:
        gap = _missing_bytes(self._connection, self._floor)
        if gap:
            self._connection.close()
            raise Retriable(
                f"the replica at {self.address} has still to replay {gap} bytes of WAL to hold what was read before"
            )

    def _begin(self, begin: sql.Composed) -> Connection:
        """A server that restarted, or a pooler that hung up, shows only here; nothing was asked yet, so once more."""
        if not self._connection.closed:
            try:
                self._connection.execute(begin)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
            else:
                return self._connection
        self._connection, self.address = self._opener()
        self._require_floor()
        self._connection.execute(begin)
        return self._connection


def _missing_bytes(connection: Connection, floor: int) -> int:
    if not floor:
        return 0
    replayed = connection.execute(
        "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')::text END"
    ).fetchone()
    return max(floor - parse_lsn(replayed[0]), 0) if replayed and replayed[0] else 0


def _begin_text(isolation: Isolation | None, statement_timeout_s: int) -> sql.Composed:
    level = sql.SQL("ISOLATION LEVEL REPEATABLE READ") if isolation else sql.SQL("")
    return _BEGIN.format(isolation=level, statement_timeout=sql.Literal(f"{statement_timeout_s}s"))


def connect(config: SourceConfig, environment: Mapping[str, str]) -> Session:
    """Open a session.

    Raise CredentialsRefused, ConfigurationError, PersonNeeded (host, TLS, version) or Unavailable.
    """
    return Session(lambda: _open(config, environment))


def _open(config: SourceConfig, environment: Mapping[str, str]) -> tuple[Connection, Address]:
    target = locate(config, environment)
    try:
        connection = psycopg.connect(target.conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise connect_fault(error, target) from None  # libpq's text can quote the password
    version = connection.info.server_version
    if version < OLDEST_VERSION:
        connection.close()
        raise PersonNeeded(f"{target.address} runs PostgreSQL {version // 10000}; 13 or newer is needed")
    return connection, target.address
