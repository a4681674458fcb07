"""What can go wrong, sorted by what a run does next.

MigrationError                          1    a bug; please report it
├── Fatal                                    a person decides; nothing is retried
│   ├── ConfigurationError              2    wrong usage or configuration
│   ├── Refused                         4    the state belongs to something else, or a change needs a decision
│   ├── DifferencesFound                5    verify found differences
│   ├── ConsentNeeded                   6    a ceiling was reached: delete, reject
│   ├── PersonNeeded                    69   host not found, certificate, unsupported version, plan limit
│   └── CredentialsRefused              77   one of the two ends does not accept who we are
├── Unavailable                         75   passes by itself; the next run continues
│   └── Busy                                 another run is at work; silent unless that one stands still
├── Retriable                           75   the other side did nothing: try again
│   ├── Overloaded                           429: wait, then slower
│   └── TooLarge                             408, 413: in smaller pieces
├── Ambiguous                           75   the other side may have acted: look before sending again
├── RowRefused                          3    the server refused what was sent; split to find the row
└── Interrupted                         130  a signal; the state is consistent
"""

from __future__ import annotations

from typing import ClassVar


class MigrationError(Exception):
    """This is a bug in byov-migrate; please report it."""

    exit_code: ClassVar[int] = 1
    next_step: str | None

    def __init__(self, message: str | None = None, *, next_step: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.next_step = next_step


class Fatal(MigrationError):
    """The run cannot go on until a person has decided."""


class ConfigurationError(Fatal):
    """The command line or the configuration is wrong."""

    exit_code = 2


class Refused(Fatal):
    """The state belongs to something else, or a change needs a decision."""

    exit_code = 4


class DifferencesFound(Fatal):
    """The target differs from the source."""

    exit_code = 5


class ConsentNeeded(Fatal):
    """More would be deleted or rejected than the ceiling allows."""

    exit_code = 6


class PersonNeeded(Fatal):
    """Something outside has to be put right first."""

    exit_code = 69


class CredentialsRefused(Fatal):
    """The credentials were refused."""

    exit_code = 77


class Unavailable(MigrationError):
    """One of the two ends is busy or away; the next run continues."""

    exit_code = 75


class Busy(Unavailable):
    """Another run is at work."""

    def __init__(self, message: str | None = None, *, silent: bool = True) -> None:
        super().__init__(message)
        self.silent = silent  # cron would turn every word into a mail


class Retriable(MigrationError):
    """The other side did nothing; the same request may be sent again."""

    exit_code = 75

    def __init__(self, message: str | None = None, *, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s  # what Retry-After asked for, in seconds


class Overloaded(Retriable):
    """The target asks for fewer requests."""


class TooLarge(Retriable):
    """The request was too large for the target's time or size limit."""


class Ambiguous(MigrationError):
    """No answer that proves anything; the request may have been carried out."""

    exit_code = 75


class RowRefused(MigrationError):
    """The target refused the content of what was sent."""

    exit_code = 3

    def __init__(self, message: str | None = None, *, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code  # stable and short, such as "http-422"


class Interrupted(MigrationError):
    """Interrupted; the state is consistent, run the same command again."""

    exit_code = 130

    def __init__(self, signal_number: int = 2) -> None:
        super().__init__()
        self.signal_number = signal_number

    @property
    def signal_exit_code(self) -> int:
        """128 plus the signal's number, as shells report it."""
        return 128 + self.signal_number
