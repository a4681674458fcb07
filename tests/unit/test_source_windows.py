"""Transaction ids, snapshots and WAL positions as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.source.cursor import Cursor
from byov_migrate.source.replica import reason_for_full_pass
from byov_migrate.source.windows import (
    ID_SPACE,
    Snapshot,
    Unusable,
    Window,
    end_of_last_record,
    format_lsn,
    parse_lsn,
    parse_snapshot,
    window_between,
)

IDS = st.integers(min_value=3, max_value=2**40)
EPOCHS = st.integers(min_value=0, max_value=300)
LOW = st.integers(min_value=0, max_value=ID_SPACE - 1)


def snapshot(lowest: int, next_: int) -> str:
    """As PostgreSQL writes it."""
    return f"{lowest}:{next_}:"


@given(EPOCHS, LOW, st.integers(min_value=0, max_value=ID_SPACE - 1), st.data())
def test_a_window_holds_every_transaction_from_the_first_to_the_last(
    epoch: int, low: int, width: int, data: st.DataObject
) -> None:
    """Across any wrap of the 32-bit counter: a row keeps the low half of its number."""
    lowest = epoch * ID_SPACE + low
    window = window_between(snapshot(lowest, lowest + 5), snapshot(lowest + width, lowest + width))
    assert isinstance(window, Window)
    for id_ in (lowest, lowest + width, lowest + data.draw(st.integers(0, width))):
        assert window.holds(id_ % ID_SPACE)


@given(EPOCHS, LOW, st.integers(min_value=0, max_value=ID_SPACE - 2), st.data())
def test_a_window_holds_nothing_else(epoch: int, low: int, width: int, data: st.DataObject) -> None:
    """Else each sync would read the whole table; the one exception is a number that was used twice."""
    lowest = epoch * ID_SPACE + low
    window = window_between(snapshot(lowest, lowest), snapshot(lowest, lowest + width))
    assert isinstance(window, Window)
    outside = lowest + data.draw(st.integers(width + 1, ID_SPACE - 1))
    assert not window.holds(outside % ID_SPACE)


@given(IDS, IDS)
def test_a_window_is_refused_where_the_numbers_say_nothing(lowest: int, next_: int) -> None:
    """Backwards, or once around."""
    usable = 0 <= next_ - lowest < ID_SPACE
    assert isinstance(window_between(snapshot(lowest, lowest), snapshot(3, next_)), Window if usable else Unusable)


def test_the_edge_of_a_whole_turn_is_refused() -> None:
    """2^32 numbers later the first of them is used again."""
    begin = snapshot(10, 10)
    assert isinstance(window_between(begin, snapshot(3, 10 + ID_SPACE - 1)), Window)
    assert isinstance(window_between(begin, snapshot(3, 10 + ID_SPACE)), Unusable)


def test_the_window_begins_at_the_oldest_open_transaction() -> None:
    """Not at the snapshot's end: what was open then commits later, under a savepoint's number or its own."""
    window = window_between("100:105:100,103", "120:125:")
    assert window == Window(100, 25)
    assert parse_snapshot("100:105:100,103") == Snapshot(100, 105)


@pytest.mark.parametrize("text", ["", "1:2", "a:b:", "1:2:x", "-1:2:"])
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    """A state from elsewhere must not become a window."""
    with pytest.raises(ValueError, match="is no snapshot"):
        parse_snapshot(text)


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_wal_position_is_read_as_it_was_written(position: int) -> None:
    """Compared as numbers: as texts, 9/0 would lie behind 10/0."""
    assert parse_lsn(format_lsn(position)) == position


@pytest.mark.parametrize("text", ["", "16", "16/", "g/0", "123456789/0"])
def test_what_is_no_wal_position_is_refused(text: str) -> None:
    """As above."""
    with pytest.raises(ValueError, match="is no WAL position"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("position", "expected"),
    [("0/3000028", "0/3000000"), ("0/3002018", "0/3002000"), ("0/3002030", "0/3002030"), ("0/3000000", "0/3000000")],
)
def test_a_pages_header_is_no_record(position: str, expected: str) -> None:
    """No replica reaches it before the next write, so a sync of an idle database would wait for ever."""
    assert format_lsn(end_of_last_record(parse_lsn(position), 8192)) == expected


def cursor(lsn: str = "1/0", timeline: int | None = 1, *, in_recovery: bool = False) -> Cursor:
    """A cursor of which nothing else matters."""
    return Cursor("3:3:", None, lsn, timeline, in_recovery)


@pytest.mark.parametrize(
    ("since", "now", "told"),
    [
        (cursor(), cursor(), None),
        (cursor(), cursor("A/0"), None),
        (cursor("9/0"), cursor("10/0"), None),
        (cursor("2/0"), cursor("1/0"), "WAL ends at 1/0"),
        (cursor(), cursor("A/0", 2), "timeline 1 to 2"),
        (cursor("2/0"), cursor("1/0", in_recovery=True), None),
        (cursor(), cursor("1/0", 2, in_recovery=True), "timeline 1 to 2"),
        (cursor("2/0", None), cursor("1/0", 5), "WAL ends"),
        (cursor("2/0"), cursor("0/0"), None),
        (cursor("0/0"), cursor("1/0"), None),
    ],
)
def test_a_source_that_lost_commits_is_recognised(since: Cursor, now: Cursor, told: str | None) -> None:
    """A promoted replica, a restored backup, a crash; a replica that lags is none of them, and what is unknown neither.

    What lags is waited for; what is lost has to be found by a full pass.
    """
    reason = reason_for_full_pass(since, now)
    assert (reason is None) == (told is None)
    assert (told or "") in (reason or "")
