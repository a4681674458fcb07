"""What a killed run left behind: found whole, in part, not at all, or still on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from byov_migrate.errors import Interrupted
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.records import Batch
from byov_migrate.state import State, open_state
from byov_migrate.target.wire import Outbound
from tests.faults.batches import LABEL, PROBES, batch_of
from tests.faults.delivery_rig import BUDGET_S, Rig, Start

TABLE = "public.job"
SENT_AT = 1_700_000_000.0
GIVE_UP_S = 60.0  # of the rig


@dataclass
class Aftermath:
    """A state with one unsettled batch, and the target it was sent to."""

    rig: Rig
    state: State
    batch: Batch
    now: float = SENT_AT + 3600

    def settle(self) -> int:
        """What the next run does first."""
        return settle_intents(
            TABLE,
            ("description",),
            self.state,
            self.rig.delivery,
            self.rig.time.patience(),
            request_budget_s=BUDGET_S,
            surroundings=Surroundings(clock=lambda: self.now),
        )

    def ids(self) -> dict[str, str]:
        """Key -> id of what is stored."""
        return {row["byovKey"]: row["__id"] for row in self.rig.faulty.records(LABEL)}


@pytest.fixture
def aftermath(start: Start, tmp_path: Path) -> Iterator[Aftermath]:
    """Three rows, the last without a vector, intended and not sent yet."""
    batch = batch_of(["1", "2", "3"], bare=["3"])
    with contextlib.closing(open_state(tmp_path / "state.db", lambda: SENT_AT, create=True)) as state:
        state.runs.begin_run("backfill")
        state.journal.intend(TABLE, batch, ["description"])
        yield Aftermath(start(), state, batch)


def test_a_batch_that_is_there_whole_is_settled_as_it_is(aftermath: Aftermath) -> None:
    """Nothing is embedded twice, no record is written again."""
    aftermath.rig.delivery.send(aftermath.batch)
    before = aftermath.ids()
    assert aftermath.settle() == 3
    assert aftermath.ids() == before
    assert {key: aftermath.state.ledger.record_id(TABLE, key) for key in before} == before
    assert aftermath.state.journal.intents(TABLE) == []


def test_a_batch_that_never_arrived_is_forgotten(aftermath: Aftermath) -> None:
    """Its rows are read again."""
    assert aftermath.settle() == 0
    assert aftermath.state.journal.intents(TABLE) == []
    assert aftermath.state.ledger.count_records(TABLE) == 0


@pytest.mark.parametrize("damage", ["a record is missing", "a vector is missing", "a vector is another one"])
def test_a_batch_that_is_there_in_part_is_removed(aftermath: Aftermath, damage: str) -> None:
    """It was never proved, so nothing depends on it; keeping it would keep a hole or a wrong vector."""
    accepted = aftermath.rig.delivery.send(aftermath.batch)
    honest = aftermath.rig.faulty.honest_wire()
    if damage == "a record is missing":
        honest.delete(LABEL, [accepted.record_ids["3"]])
    elif damage == "a vector is missing":
        honest.replace(LABEL, accepted.record_ids["1"], aftermath.batch.rows[0].document.properties)
    else:
        honest.attach(honest.indexes()[0], {accepted.record_ids["1"]: PROBES[1]})
    assert aftermath.settle() == 0
    assert aftermath.rig.faulty.records(LABEL) == []
    assert aftermath.state.journal.intents(TABLE) == []
    assert aftermath.state.ledger.count_records(TABLE) == 0


def test_records_without_their_vectors_are_removed(aftermath: Aftermath) -> None:
    """The run was killed between its two calls."""
    rows = [Outbound(item.document.key, item.document.properties) for item in aftermath.batch.rows]
    aftermath.rig.faulty.honest_wire().create(LABEL, rows)
    assert aftermath.settle() == 0
    assert aftermath.rig.faulty.records(LABEL) == []


def test_doubled_records_are_thinned_out(aftermath: Aftermath) -> None:
    """A request that was repeated on its way."""
    aftermath.rig.delivery.send(aftermath.batch)
    aftermath.rig.faulty.honest_wire().create(
        LABEL, [Outbound(item.document.key, item.document.properties) for item in aftermath.batch.rows]
    )
    aftermath.settle()
    assert len(aftermath.rig.faulty.keys(LABEL)) == len(set(aftermath.rig.faulty.keys(LABEL)))
    assert set(aftermath.ids()) in (set(), {"1", "2", "3"})
    assert aftermath.state.ledger.count_records(TABLE) == len(aftermath.ids())


def test_records_of_others_are_left_alone(aftermath: Aftermath) -> None:
    """Removal goes by the batch's own name."""
    rows = [Outbound("x", {"byovKey": "1", "byovBatch": "another"}), Outbound("y", {"title": "no byovKey"})]
    honest = aftermath.rig.faulty.honest_wire()
    honest.create(LABEL, rows[:1])
    honest.create(LABEL, rows[1:])
    assert aftermath.settle() == 0
    assert len(aftermath.rig.faulty.records(LABEL)) == 2


@pytest.mark.parametrize(
    ("age_s", "waited"),
    [
        (0.0, [BUDGET_S]),
        (GIVE_UP_S, [BUDGET_S]),
        (GIVE_UP_S + BUDGET_S - 2, [2.0]),
        (GIVE_UP_S + BUDGET_S, []),
        (86400.0, []),
        (-86400.0, [BUDGET_S]),
    ],
)
def test_what_may_still_be_under_way_is_waited_for(aftermath: Aftermath, age_s: float, waited: list[float]) -> None:
    """The killed run may have sent the batch again until it gave up, and a request may go on until its budget is over.

    A clock that was set back is no excuse.
    """
    aftermath.now = SENT_AT + age_s
    aftermath.settle()
    assert aftermath.rig.time.waits == pytest.approx(waited)


def test_nothing_is_asked_when_nothing_was_left(aftermath: Aftermath) -> None:
    """The ordinary case costs no request."""
    aftermath.state.journal.drop_intent(aftermath.batch.id)
    requests = len(aftermath.rig.faulty.seen)
    assert aftermath.settle() == 0
    assert len(aftermath.rig.faulty.seen) == requests
    assert aftermath.rig.time.waits == []


def test_a_stop_during_the_wait_leaves_the_intent_for_the_next_run(aftermath: Aftermath) -> None:
    """Interrupted again before anything was decided."""
    aftermath.now = SENT_AT
    aftermath.rig.time.stopped = True
    with pytest.raises(Interrupted):
        aftermath.settle()
    assert len(aftermath.state.journal.intents(TABLE)) == 1
