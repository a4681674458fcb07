"""The misbehaving server itself: a fault that does not happen would make every test of it worthless."""

from __future__ import annotations

import contextlib

import pytest

from byov_migrate.errors import Ambiguous
from byov_migrate.target.wire import Outbound
from tests.faults.exchange import IMPORT, act_then_close, act_then_reset, close_at_once, lose_commit
from tests.faults.faulty_rushdb import FaultyRushDB

ROW = Outbound("1", {"byovKey": "1", "title": "x"})


def test_without_faults_it_is_a_sandbox(faulty: FaultyRushDB) -> None:
    """The proxy passes bodies, answers and keys on unchanged."""
    with contextlib.closing(faulty.wire()) as wire:
        assert wire.server().kind == "sandbox"
        assert list(wire.create("Job", [ROW])) == ["1"]
    assert faulty.keys("Job") == ["1"]
    assert faulty.calls(IMPORT)[0].body["data"] == [{"byovKey": "1", "title": "x"}]


@pytest.mark.parametrize(("fault", "stored"), [(act_then_close, ["1"]), (act_then_reset, ["1"]), (close_at_once, [])])
def test_a_lost_answer_is_ambiguous_whether_or_not_the_server_acted(
    faulty: FaultyRushDB, fault: object, stored: list[str]
) -> None:
    """The client cannot tell the two apart; the store can."""
    faulty.on(IMPORT, fault)  # type: ignore[arg-type]
    with contextlib.closing(faulty.wire()) as wire, pytest.raises(Ambiguous):
        wire.create("Job", [ROW])
    assert faulty.keys("Job") == stored


def test_a_lost_commit_is_answered_with_ids_and_stores_nothing(faulty: FaultyRushDB) -> None:
    """As a platform whose database went away at the commit."""
    faulty.on(IMPORT, lose_commit)
    with contextlib.closing(faulty.wire()) as wire:
        assert list(wire.create("Job", [ROW])) == ["1"]
    assert faulty.keys("Job") == []
