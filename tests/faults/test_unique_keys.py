"""Whether the operator made keys unique: found out by trying, with nothing left behind."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import pytest

from byov_migrate.errors import Unavailable
from byov_migrate.target.provision import OURS, UNIQUENESS_KEY, keys_are_unique
from byov_migrate.target.wire import Outbound
from tests.faults.exchange import (
    DELETE,
    IMPORT,
    Fault,
    act_then_close,
    act_twice_then_close,
    close_at_once,
    lose_commit,
    refuse,
)
from tests.faults.faulty_rushdb import FaultyRushDB
from tests.faults.late_time import LateTime
from tests.faults.update_rig import unique_keys

BUDGET_S = 7.0
ANSWERS = pytest.mark.parametrize("unique", [True, False], ids=["with the constraint", "without"])


class Trial:
    """A label of its own, with one row and its constraint or without, and the question."""

    def __init__(self, faulty: FaultyRushDB, label: str) -> None:
        self.faulty = faulty
        self.label = label
        self.time = LateTime()
        self.wire = faulty.wire(timeout_s=0.5)
        self.faulty.honest_wire().create(label, [Outbound("1", {"byovKey": "1", "byovBatch": "b"})])

    def ask(self) -> bool:
        """What a run asks before it updates."""
        return keys_are_unique(self.wire, self.time.patience(), self.label, budget_s=BUDGET_S)

    def assert_nothing_left(self) -> None:
        """The row that was there, and no other."""
        self.time.drain()
        assert self.faulty.keys(self.label) == ["1"]


@pytest.fixture
def trial(faulty: FaultyRushDB, unique: bool) -> Iterator[Trial]:  # noqa: FBT001 - a parameter of the tests
    """The label; `unique` says whether the constraint is there."""
    label = f"Unique{secrets.token_hex(6)}"
    constraint = unique_keys(faulty.honest_url, label) if unique else contextlib.nullcontext()
    with constraint:
        made = Trial(faulty, label)
        yield made
        made.wire.close()


@ANSWERS
def test_the_answer_is_right_and_nothing_is_left(trial: Trial, unique: bool) -> None:  # noqa: FBT001
    """A wrong yes would append where two records of a key can arise; a wrong no would rewrite for nothing."""
    assert trial.ask() is unique
    trial.assert_nothing_left()
    assert trial.time.waits == []


@pytest.mark.parametrize("unique", [False])
def test_what_a_killed_run_left_is_removed_first(trial: Trial) -> None:
    """Its pair would stay in the label for ever, as records with a key that no row has."""
    pair = [Outbound(UNIQUENESS_KEY, {"byovKey": UNIQUENESS_KEY})] * 2
    trial.faulty.honest_wire().create(trial.label, pair)
    assert not trial.ask()
    trial.assert_nothing_left()


@pytest.mark.parametrize("unique", [True])
def test_one_record_left_by_a_killed_run_does_not_pass_for_the_constraints_refusal(trial: Trial) -> None:
    """The constraint was made after the run was killed in the middle of its removal: the answer is yes all the same."""
    trial.faulty.honest_wire().create(trial.label, [Outbound(UNIQUENESS_KEY, {"byovKey": UNIQUENESS_KEY})])
    assert trial.ask()
    trial.assert_nothing_left()


@ANSWERS
@pytest.mark.parametrize(
    "fault", [act_then_close, close_at_once, refuse(503), refuse(429), lose_commit, act_twice_then_close]
)
def test_a_fault_on_the_pair_changes_no_yes_into_a_no_and_leaves_nothing(
    trial: Trial,
    unique: bool,  # noqa: FBT001
    fault: Fault,
) -> None:
    """An answer that was lost is looked into, after the request must have ended."""
    trial.faulty.on(IMPORT, fault)
    assert trial.ask() is unique
    trial.assert_nothing_left()


@ANSWERS
def test_a_pair_that_comes_late_is_waited_for(trial: Trial, unique: bool) -> None:  # noqa: FBT001
    """Looked for at once it would not be there yet, and nobody would remove it."""
    trial.faulty.on(IMPORT, trial.time.act_after(0.9 * BUDGET_S))
    assert trial.ask() is unique
    trial.assert_nothing_left()


@pytest.mark.parametrize("unique", [False])
@pytest.mark.parametrize("fault", [act_then_close, close_at_once, lose_commit, refuse(503)])
def test_the_pair_is_removed_until_it_is_gone(trial: Trial, fault: Fault) -> None:
    """A delete that was answered and not kept is the fault that nothing but a look finds."""
    trial.faulty.on(DELETE, fault)
    assert not trial.ask()
    trial.assert_nothing_left()


@pytest.mark.parametrize("unique", [False])
def test_a_pair_that_cannot_be_removed_ends_the_run(trial: Trial) -> None:
    """It goes no further with two records in the label that no row has."""
    trial.faulty.decide = lambda seen: lose_commit if seen.path.endswith(DELETE) else None
    with pytest.raises(Unavailable):
        trial.ask()


@pytest.mark.parametrize("unique", [False])
@pytest.mark.parametrize("status", [409, 422])
def test_another_refusal_is_not_the_constraints(trial: Trial, status: int) -> None:
    """Any doubt is a no."""
    trial.faulty.on(IMPORT, refuse(status))
    assert not trial.ask()
    trial.assert_nothing_left()


@pytest.mark.parametrize("unique", [False])
def test_the_pair_is_never_counted_as_ours(trial: Trial) -> None:
    """While it is there, a label must not look fuller than it is."""
    wire = trial.faulty.honest_wire()
    wire.create(trial.label, [Outbound(UNIQUENESS_KEY, {"byovKey": UNIQUENESS_KEY})] * 2)
    assert wire.find(trial.label, OURS, limit=1)[1] == 1
