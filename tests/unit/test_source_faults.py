"""Foreign errors are translated once, by code, and their text never passes."""

from __future__ import annotations

import pytest
from psycopg import errors as foreign

from byov_migrate.errors import (
    ConfigurationError,
    CredentialsRefused,
    MigrationError,
    PersonNeeded,
    Retriable,
    Unavailable,
)
from byov_migrate.source.address import Address
from byov_migrate.source.faults import translated

ADDRESS = Address("db.example", "5432", "jobs")
CANARY = "canary-5f0c"


def translation(error: Exception) -> MigrationError:
    """What a session raises for this error of the driver."""
    with pytest.raises(MigrationError) as caught, translated(ADDRESS):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (foreign.InvalidPassword, CredentialsRefused),
        (foreign.InvalidAuthorizationSpecification, CredentialsRefused),
        (foreign.InsufficientPrivilege, CredentialsRefused),
        (foreign.UndefinedTable, ConfigurationError),
        (foreign.UndefinedColumn, ConfigurationError),
        (foreign.InvalidCatalogName, ConfigurationError),
        (foreign.CannotConnectNow, Unavailable),
        (foreign.TooManyConnections, Unavailable),
        (foreign.DiskFull, Unavailable),
        (foreign.ConnectionFailure, Unavailable),
        (foreign.SerializationFailure, Retriable),
        (foreign.DeadlockDetected, Retriable),
        (foreign.QueryCanceled, Retriable),
        (foreign.LockNotAvailable, Retriable),
        (foreign.AdminShutdown, Retriable),
        (foreign.IdleInTransactionSessionTimeout, Retriable),
        (foreign.OperationalError, Retriable),
        (foreign.DataCorrupted, PersonNeeded),
        (foreign.CharacterNotInRepertoire, PersonNeeded),
    ],
)
def test_each_failure_says_what_the_run_does_next(error: type[Exception], expected: type[MigrationError]) -> None:
    """A retried configuration error hangs a cron job; a fatal restart wakes somebody for nothing."""
    assert type(translation(error(CANARY))) is expected


@pytest.mark.parametrize("state", sorted(foreign._sqlcodes))
def test_no_error_of_the_driver_passes_untranslated_or_with_its_text(state: str) -> None:
    """The server's text quotes values of rows; libpq's can quote the password."""
    result = translation(foreign.lookup(state)(CANARY))
    assert CANARY not in f"{result}{result.next_step}"
    assert result.__suppress_context__
    assert result.__cause__ is None


def test_what_is_no_database_error_passes_through() -> None:
    """A bug in our own code must not be reported as a database that is away."""
    with pytest.raises(ZeroDivisionError), translated(ADDRESS):
        raise ZeroDivisionError
