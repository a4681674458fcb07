"""The one table that says what a failed request means. Pure: exception or status in, error of ours out.

| seen                                             | did the server act? | class            |
| ------------------------------------------------ | ------------------- | ---------------- |
| host not found, certificate refused              | no                  | PersonNeeded     |
| connection refused or timed out, pool exhausted  | no                  | Retriable        |
| write or read cut or timed out, garbled answer   | perhaps             | Ambiguous        |
| 2xx that is not the expected JSON                | perhaps             | Ambiguous        |
| 400 that speaks of a deadlock                    | no                  | Retriable        |
| 400 that speaks of a lost connection             | perhaps             | Ambiguous        |
| 400, 409, 422 otherwise                          | no                  | RowRefused       |
| 401; 403 before the key has worked               | no                  | CredentialsRefused |
| 403 after the key has worked                     | no                  | Retriable        |
| 402                                              | no                  | PersonNeeded     |
| 404 to a record, in RushDB's words               | no                  | none: `is_absent` |
| 404                                              | no                  | PersonNeeded     |
| 408, 413                                         | no, rolled back     | TooLarge         |
| 429                                              | no                  | Overloaded       |
| 3xx                                              | no                  | PersonNeeded     |
| 5xx                                              | perhaps             | Ambiguous        |

A request that only reads cannot have acted: its Ambiguous is Retriable. Messages hold the status and the route, never
the server's text, which quotes values.
"""

from __future__ import annotations

import email.utils
import re
import socket
import ssl
import time

import httpx

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

RETRY_AFTER_CAP_S = 300.0
_DEADLOCK = re.compile(r"deadlock|ForsetiClient|TransientError", re.IGNORECASE)
_LOST_CONNECTION = re.compile(r"connection|ServiceUnavailable|SessionExpired", re.IGNORECASE)
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def from_exception(error: httpx.HTTPError, host: str) -> MigrationError:
    """The class of a request that got no answer."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return PersonNeeded(f"target host {host} was not found; check [target] url and the network's DNS")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        reason = next(cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
        return PersonNeeded(f"the certificate of {host} was refused: {reason.verify_message}; set [target] ca_file")
    if isinstance(error, _NOTHING_SENT):
        return Retriable(f"target {host} cannot be reached ({type(error).__name__})")
    return Ambiguous(f"target {host} gave no usable answer ({type(error).__name__})")


def _causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def from_response(response: httpx.Response, *, key_has_worked: bool) -> MigrationError | None:
    """The class of an answer, or None when it is a success. The body must have been read."""
    status = response.status_code
    if 200 <= status < 300:
        return None
    route = f"{response.request.method} {response.request.url.path}"
    if status in (401, 403):
        return _refused(status, route, key_has_worked=key_has_worked)
    if status == 400:
        return _bad_request(response.text, route)
    if status == 429:
        return Overloaded(f"target asks for fewer requests (429 to {route})", wait_s=_retry_after(response))
    return _by_status(status, route)


def is_absent(response: httpx.Response) -> bool:
    """Whether RushDB says that a record is not there; an unknown route and a gateway use other words."""
    return response.status_code == 404 and response.text.replace(" ", "").startswith('{"message":"NotFound"')


def _by_status(status: int, route: str) -> MigrationError:
    if status in (408, 413):
        return TooLarge(f"the request was too large or too slow for the target ({status} to {route})")
    if status in (409, 422):
        return RowRefused(f"target refused the content ({status} to {route})", code=f"http-{status}")
    if status >= 500:
        return Ambiguous(f"target answered {status} to {route}")
    return _person_needed(status, route)


def _person_needed(status: int, route: str) -> PersonNeeded:
    if status == 402:
        return PersonNeeded(f"a limit of the RushDB plan was reached (402 to {route}); see the plan's usage page")
    if status < 400:
        return PersonNeeded(
            f"the target redirects ({status} to {route}); redirects are not followed: set the final url"
        )
    return PersonNeeded(
        f"the target does not know {route} ({status}); is [target] url a RushDB of version 2.11 or later?"
    )


def _refused(status: int, route: str, *, key_has_worked: bool) -> MigrationError:
    if key_has_worked:  # RushDB's own rate limit and a restart of its user store look like this
        return Retriable(f"target answered {status} to {route} although the key has worked")
    return CredentialsRefused(f"RushDB refuses the key ({status} to {route}); it may be wrong, expired or read-only")


def _bad_request(text: str, route: str) -> MigrationError:
    if _DEADLOCK.search(text):
        return Retriable(f"target met a deadlock (400 to {route})")
    if text.find("Import failed") >= 0 and _LOST_CONNECTION.search(text):
        return Ambiguous(f"target lost its database (400 to {route})")
    return RowRefused(f"target refused the content (400 to {route})", code="http-400")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds asked for: a number or a date, never negative, capped."""
    given = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+", given):
        return min(float(given), RETRY_AFTER_CAP_S)
    try:
        moment = email.utils.parsedate_to_datetime(given).timestamp()
    except ValueError:
        return None
    return min(max(moment - time.time(), 0.0), RETRY_AFTER_CAP_S)
