"""The table of failed requests, row by row: what the run does next, and nothing of the server's text."""

from __future__ import annotations

import datetime as dt
import email.utils
import inspect
import socket
import ssl

import httpx
import pytest

from byov_migrate.errors import (
    Ambiguous,
    CredentialsRefused,
    MigrationError,
    Overloaded,
    PersonNeeded,
    Retriable,
    RowRefused,
    TooLarge,
)
from byov_migrate.target.faults import RETRY_AFTER_CAP_S, from_exception, from_response, is_absent

CANARY = "canary-5f0c"
REQUEST = httpx.Request("POST", f"https://api.example/api/v1/records/import/json?secret={CANARY}")
NOTHING_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}


def response(status: int, text: str = CANARY, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer to a create."""
    return httpx.Response(status, text=text, headers=headers, request=REQUEST)


def verdict(status: int, text: str = CANARY, *, key_has_worked: bool = True) -> MigrationError:
    """The error of an answer that is none of success."""
    error = from_response(response(status, text), key_has_worked=key_has_worked)
    assert error is not None
    return error


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_no_error(status: int) -> None:
    """RushDB answers 200, 201 and 202, by the route."""
    assert from_response(response(status), key_has_worked=False) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, PersonNeeded),
        (307, PersonNeeded),
        (400, RowRefused),
        (402, PersonNeeded),
        (403, Retriable),
        (404, PersonNeeded),
        (405, PersonNeeded),
        (408, TooLarge),
        (409, RowRefused),
        (413, TooLarge),
        (422, RowRefused),
        (429, Overloaded),
        (499, PersonNeeded),
        (500, Ambiguous),
        (502, Ambiguous),
        (503, Ambiguous),
        (504, Ambiguous),
        (599, Ambiguous),
    ],
)
def test_each_status_says_what_the_run_does_next(status: int, expected: type[MigrationError]) -> None:
    """A 502 that is simply repeated doubles a batch; a 409 that is repeated hangs the run."""
    assert type(verdict(status)) is expected


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_never_worked_is_refused_at_once(status: int) -> None:
    """Waiting 20 minutes for a mistyped key would hide the mistake."""
    assert type(verdict(status, key_has_worked=False)) is CredentialsRefused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Import failed: ForsetiClient[transactionId=7] can't acquire SHARED INDEX_ENTRY", Retriable),
        ("it would form this deadlock wait cycle", Retriable),
        ("Neo.TransientError.Transaction.DeadlockDetected", Retriable),
        ("DEADLOCK", Retriable),
        ("Import failed: Connection was closed by server", Ambiguous),
        ("Import failed: ServiceUnavailable", Ambiguous),
        ("Import failed: Node(2835) already exists", RowRefused),
        ("Connection header is wrong", RowRefused),
        ("", RowRefused),
    ],
)
def test_a_400_is_told_apart_by_its_words(text: str, expected: type[MigrationError]) -> None:
    """The platform answers deadlocks and lost databases with the status of a bad row."""
    assert type(verdict(400, text)) is expected


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503])
@pytest.mark.parametrize("key_has_worked", [True, False])
def test_no_message_holds_the_servers_text_or_the_query(status: int, *, key_has_worked: bool) -> None:
    """The server quotes values of rows in its messages."""
    error = verdict(status, f"Import failed: {CANARY} deadlock", key_has_worked=key_has_worked)
    assert CANARY not in f"{error}{error!r}"
    assert str(status) in str(error) or status == 400


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (404, '{"message":"Not Found","statusCode":404}', True),
        (404, '{ "message": "Not Found", "statusCode": 404 }', True),
        (404, '{"message":"Cannot PUT /api/v1/records/1","error":"Not Found","statusCode":404}', False),
        (404, "<html>Not Found</html>", False),
        (404, "", False),
        (400, '{"message":"Not Found","statusCode":404}', False),
    ],
)
def test_only_rushdbs_own_words_say_that_a_record_is_absent(status: int, text: str, expected: bool) -> None:  # noqa: FBT001
    """An unknown route or a gateway taken for a record that is gone would double every row."""
    assert is_absent(response(status, text)) is expected


def retry_after(value: str) -> float | None:
    """What a 429 with this header makes the run wait at least."""
    error = from_response(response(429, headers={"retry-after": value}), key_has_worked=True)
    assert isinstance(error, Overloaded)
    return error.wait_s


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("299", 299.0),
        ("301", RETRY_AFTER_CAP_S),
        ("9" * 400, RETRY_AFTER_CAP_S),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_past_date(given: str, expected: float | None) -> None:
    """Never negative, never for ever, and nonsense is no reason to fail."""
    assert retry_after(given) == expected


def test_retry_after_as_a_date() -> None:
    """The other form of the header."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)
    wait_s = retry_after(email.utils.format_datetime(later, usegmt=True))
    assert wait_s is not None
    assert 90 <= wait_s <= 100


def test_retry_after_is_absent() -> None:
    """RushDB's own limiter sends none."""
    error = from_response(response(429), key_has_worked=True)
    assert isinstance(error, Overloaded)
    assert error.wait_s is None


def test_retry_after_as_a_date_far_away_is_capped() -> None:
    """A wrong clock at the server must not stop a migration for a year."""
    assert retry_after("Wed, 21 Oct 2099 07:28:00 GMT") == RETRY_AFTER_CAP_S


def failures() -> list[type[httpx.HTTPError]]:
    """Every error of the client library that a request can end in."""
    classes = [value for value in vars(httpx).values() if inspect.isclass(value)]
    return [value for value in classes if issubclass(value, httpx.HTTPError) and value is not httpx.HTTPStatusError]


@pytest.mark.parametrize("failure", failures(), ids=lambda failure: failure.__name__)
def test_no_failure_of_the_client_library_is_unmapped(failure: type[httpx.HTTPError]) -> None:
    """Only where nothing was sent may the same request be sent again without looking."""
    error = from_exception(failure(CANARY), "api.example")
    assert type(error) is (Retriable if failure.__name__ in NOTHING_SENT else Ambiguous)
    assert CANARY not in str(error)


def caused(outer: Exception, *inner: BaseException) -> Exception:
    """An error with a chain of causes, as httpx and httpcore build it."""
    error: BaseException = outer
    for cause in inner:
        error.__cause__ = cause
        error = cause
    return outer


def test_a_host_that_is_not_found_needs_a_person() -> None:
    """A typing mistake in the address does not pass by itself."""
    error = caused(httpx.ConnectError("x"), OSError("x"), socket.gaierror(-2, "Name or service not known"))
    assert isinstance(error, httpx.HTTPError)
    result = from_exception(error, "api.example")
    assert type(result) is PersonNeeded
    assert "api.example" in str(result)


def test_a_certificate_that_is_refused_needs_a_person() -> None:
    """It is named with the setting that would mend it."""
    refusal = ssl.SSLCertVerificationError("x")
    refusal.verify_message = "self-signed certificate"
    error = caused(httpx.ConnectError("x"), refusal)
    assert isinstance(error, httpx.HTTPError)
    result = from_exception(error, "api.example")
    assert type(result) is PersonNeeded
    assert "self-signed certificate" in str(result)
    assert "ca_file" in str(result)
