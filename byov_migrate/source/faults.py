"""psycopg's errors -> ours, by SQLSTATE. Messages are built from the address alone.

Never from the server's text: DETAIL quotes values, and libpq's own messages can quote the password.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from byov_migrate.errors import (
    ConfigurationError,
    CredentialsRefused,
    MigrationError,
    PersonNeeded,
    Retriable,
    Unavailable,
)
from byov_migrate.source.address import Address, Target
from byov_migrate.source.tls import diagnose

# A failed connection carries no SQLSTATE: libpq keeps only the text. Servers and pgbouncer say these in English.
_CONNECT_TEXTS: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|SASL authentication failed|auth failed|no such user", "28P01"),
    (r"no password supplied|wrong password type", "28P01"),
    (r"no pg_hba.conf entry|role \".*\" does not exist|is not permitted to log in|authentication failed", "28000"),
    (r"database \".*\" does not exist|no such database", "3D000"),
    (r"permission denied for database", "42501"),
    (r"too many (clients|connections)|connection slots are reserved|no more connections allowed", "53300"),
    (
        r"is (starting up|shutting down|in recovery mode)|not yet accepting connections|not accepting connections",
        "57P03",
    ),
)
_RETRIABLE = frozenset({"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P05", "25P03", "25P04"})
_BUSY = frozenset({"53", "57", "58"})


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Raise our error for psycopg's, for everything that happens in an open session."""
    try:
        yield
    except psycopg.Error as error:
        raise _in_session(error, address) from None  # its text may quote a row


def _in_session(error: psycopg.Error, address: Address) -> MigrationError:
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.OperationalError):
            return Retriable(f"the connection to {address} was lost")
        return MigrationError(f"the driver refused a query to {address}: {type(error).__name__}")
    if state in _RETRIABLE:
        return Retriable(
            f"{address} gave up the query ({_NAMES.get(state, 'SQLSTATE ' + state)}); it can be asked again"
        )
    return _by_state(state, address)


_NAMES = {
    "40001": "recovery conflict on a replica",
    "57014": "its time limit, or a conflict on a replica",
    "55P03": "a lock was held for too long",
    "57P01": "the server is shutting down",
}


def _by_state(state: str, address: Address) -> MigrationError:
    if state.startswith("28"):
        return CredentialsRefused(f"{address} refused the user or the password; look at source.dsn")
    if state == "42501":
        return CredentialsRefused(
            f"the role may not read all that is configured on {address}; GRANT it SELECT, and USAGE on the schema"
        )
    if state[:2] in _BUSY or state.startswith("08"):
        return Unavailable(f"{address} is busy, starting or stopping (SQLSTATE {state})")
    return _by_cause(state, address)


def _by_cause(state: str, address: Address) -> MigrationError:
    if state == "3D000":
        return ConfigurationError(
            f"source.dsn: there is no database {address.database} on {address.host}:{address.port}"
        )
    if state in ("42P01", "42703"):
        return ConfigurationError(
            f"a table or column of the configuration is gone from {address}; run: byov-migrate plan"
        )
    if state[:2] in ("XX", "22"):
        return PersonNeeded(f"{address} cannot read a row of its own (SQLSTATE {state}); see the server's log")
    return MigrationError(f"{address} refused a query of ours (SQLSTATE {state}); please report it")


def connect_fault(error: psycopg.Error, target: Target) -> MigrationError:
    """Our error for a connection that could not be opened."""
    address = target.address
    state = error.sqlstate or _state_of(str(error))
    if state is not None:
        return _by_state(state, address)
    if unknown := _unknown_host(address):
        return PersonNeeded(f"there is no host {unknown}: the name cannot be resolved; look at source.dsn")
    if target.checks_certificate and (fault := _tls_fault(target)):
        return fault
    if error.pgconn is not None and (error.pgconn.needs_password or error.pgconn.used_password):
        return _by_state("28P01", address)
    return Unavailable(f"{address} does not answer; is PostgreSQL running there, and is the way open?")


def _state_of(text: str) -> str | None:
    return next((state for pattern, state in _CONNECT_TEXTS if re.search(pattern, text)), None)


def _hosts(address: Address) -> list[str]:
    return [host for host in address.host.split(",") if not host.startswith(("/", "@"))]


def _unknown_host(address: Address) -> str | None:
    for host in _hosts(address):
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN:  # a name server that is away comes back
                return host
    return None


def _tls_fault(target: Target) -> PersonNeeded | None:
    port = int(target.address.port.split(",")[0])
    check_name = target.parameters["sslmode"] == "verify-full"
    for host in _hosts(target.address):
        if fault := diagnose(host, port, target.ca_file, check_name=check_name):
            return PersonNeeded(f"TLS to {host}:{port}: {fault.case}", next_step=fault.fix)
    return None
