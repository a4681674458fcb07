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
from byov_migrate.errors import PersonNeeded
from byov_migrate.source.address import Address, locate
from byov_migrate.source.faults import connect_fault, translated

Isolation: TypeAlias = Literal["repeatable read"]
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

OLDEST_VERSION = 130000
STATEMENT_TIMEOUT_S = 600

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

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A savepoint: a query that fails inside leaves the transaction usable. psycopg's error passes through."""
        with self.connection.transaction():
            yield


class Session:
    """A connection that is opened again, with the DSN read anew, when it was lost between two transactions."""

    def __init__(self, opener: Callable[[], tuple[Connection, Address]]) -> None:
        self._opener = opener
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
        self._connection.execute(begin)
        return self._connection


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
