"""The error tree: one exit code a class, as the operators' table has it, and sentences for people."""

from __future__ import annotations

import inspect
import re

import pytest

from byov_migrate import errors
from byov_migrate.errors import (
    Ambiguous,
    Busy,
    ConfigurationError,
    ConsentNeeded,
    CredentialsRefused,
    DifferencesFound,
    Fatal,
    Interrupted,
    MigrationError,
    Overloaded,
    PersonNeeded,
    Refused,
    Retriable,
    RowRefused,
    TooLarge,
    Unavailable,
)

CODES: dict[type[MigrationError], int] = {
    MigrationError: 1,
    Fatal: 1,
    ConfigurationError: 2,
    RowRefused: 3,
    Refused: 4,
    DifferencesFound: 5,
    ConsentNeeded: 6,
    PersonNeeded: 69,
    Unavailable: 75,
    Busy: 75,
    Retriable: 75,
    Overloaded: 75,
    TooLarge: 75,
    Ambiguous: 75,
    CredentialsRefused: 77,
    Interrupted: 130,
}


def own_classes() -> set[type[MigrationError]]:
    """Every class of the tree."""
    return {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MigrationError)}


def test_every_class_stands_in_the_table() -> None:
    """A class that is added must be given its code on purpose."""
    assert own_classes() == set(CODES)


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=str)
def test_each_class_ends_with_its_code(kind: type[MigrationError], code: int) -> None:
    """Whoever is woken at night is chosen by it."""
    assert kind.exit_code == code


@pytest.mark.parametrize("kind", list(CODES), ids=str)
def test_a_class_without_a_message_says_its_own_sentence(kind: type[MigrationError]) -> None:
    """An empty last line helps nobody."""
    assert str(kind()) == (kind.__doc__ or "").strip()
    assert str(kind()).endswith(".")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """It is the first thing that a reader sees."""
    drawn = set(re.findall(r"^[│ ├└─]*([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)) - {"What"}
    assert drawn == {kind.__name__ for kind in own_classes()}
    for name, code in re.findall(r"^[│ ├└─]*([A-Z]\w+) +(\d+) ", errors.__doc__ or "", re.MULTILINE):
        assert getattr(errors, name).exit_code == int(code)


@pytest.mark.parametrize(("signal_number", "code"), [(1, 129), (2, 130), (15, 143)])
def test_a_signal_is_reported_as_shells_do(signal_number: int, code: int) -> None:
    """130 after Ctrl-C, 143 after SIGTERM."""
    assert Interrupted(signal_number).signal_exit_code == code


def test_what_a_class_carries_for_the_run() -> None:
    """A wait, a code, a next step."""
    assert Overloaded("x", wait_s=3.0).wait_s == 3.0
    assert Retriable().wait_s is None
    assert Retriable().next_step is None
    assert RowRefused("x", code="http-422").code == "http-422"
    assert RowRefused().code == "refused"
    assert Refused("x", next_step="byov-migrate backfill").next_step == "byov-migrate backfill"


@pytest.mark.parametrize("kind", [Overloaded, TooLarge])
def test_what_the_other_side_did_not_do_is_retriable(kind: type[MigrationError]) -> None:
    """The retry loop asks for this class."""
    assert issubclass(kind, Retriable)


@pytest.mark.parametrize("kind", [Ambiguous, RowRefused, Unavailable, Fatal, Interrupted])
def test_what_must_not_be_sent_again_as_it_is_is_not_retriable(kind: type[MigrationError]) -> None:
    """Else the retry loop would double, hang or hide it."""
    assert not issubclass(kind, Retriable)
