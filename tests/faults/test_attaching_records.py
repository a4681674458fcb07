"""Vectors that come to records as they are: decided, sent, lost, proved, found after a kill. No record is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from byov_migrate.jobs.embedding import EmbeddingPlan
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import TableWork
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.records import Batch, Known, Page, Receipt, Row
from byov_migrate.source import TableReader
from byov_migrate.state import State, open_state
from byov_migrate.state.scope import Applying
from byov_migrate.target.destination import Destination
from byov_migrate.target.wire import Index, Outbound
from tests.faults.batches import DIMENSION, LABEL, PROBES, composer
from tests.faults.delivery_rig import BUDGET_S, Rig, Start
from tests.faults.exchange import IMPORT, UPSERT, Exchange, Fault, Seen, act_then_close, close_at_once, lose_commit
from tests.faults.update_rig import Wanted, batch_for, has_vector_of

TABLE = "public.job"
PROPERTIES = ("description",)
SENT_AT = 1_700_000_000.0
KEYS = ("1", "2", "3", "4")
LEFT = "colour"  # a property that left the configuration
SETTINGS = f"tables[{TABLE}].embeddings[description].spare"


@dataclass
class Attaching:
    """Four records that are stored and proved and have no vector, which is to come."""

    rig: Rig
    state: State
    known: dict[str, Known]

    def batch(self, keys: Sequence[str] = KEYS) -> Batch:
        """Vectors for these."""
        return batch_for(dict.fromkeys(keys, Wanted()), "attach", self.known)

    def settle(self) -> int:
        """What the next run does first, an hour later."""
        return settle_intents(
            TABLE,
            PROPERTIES,
            self.state,
            self.rig.delivery,
            self.rig.time.patience(),
            request_budget_s=BUDGET_S,
            surroundings=Surroundings(clock=lambda: SENT_AT + 3600),
        )

    def planned(self, *rows: Row, vectors_only: bool = False) -> list[Row]:
        """What the planner makes of these rows."""
        maker = composer()
        plan = EmbeddingPlan(maker.table.embeddings[0], DIMENSION, PROBES, None, None)
        nothing_is_read = cast("TableReader", None)
        work = TableWork(maker.table, nothing_is_read, (plan,), maker, Destination(LABEL, (), "two-call", (PROBES,)))
        planner = WritePlanner(work, self.state, self.rig.delivery.fetch, lambda: False, vectors_only=vectors_only)
        return [row for row in planner.page(Page(rows, None)).rows if isinstance(row, Row)]

    def records(self) -> dict[str, dict[str, Any]]:
        """Everything stored, by key."""
        return {record["byovKey"]: record for record in self.rig.faulty.records(LABEL)}

    def with_vectors(self) -> list[str]:
        """Keys of the records that carry the vector they are to have."""
        wire, index = self.rig.faulty.honest_wire(), self.index
        return [key for key in KEYS if has_vector_of(wire, index, key, Wanted())]

    @property
    def index(self) -> Index:
        """The only one."""
        [index] = self.rig.faulty.honest_wire().indexes()
        return index

    def attach_honestly(self, batch: Batch, keys: Sequence[str]) -> None:
        """Store some of a batch's vectors past the proxy."""
        found = {item.document.key: item.vectors[0] for item in batch.rows}
        chosen = {self.known[key].record_id: vector for key in keys if (vector := found[key]) is not None}
        self.rig.faulty.honest_wire().attach(self.index, chosen)

    def add_others_vector(self) -> None:
        """Somebody else's record with a vector in the same index."""
        wire = self.rig.faulty.honest_wire()
        ids = wire.create(LABEL, [Outbound("x", {"description": "", "title": "no key of ours"})])
        wire.attach(self.index, dict.fromkeys(ids.values(), PROBES[0]))


@pytest.fixture
def attaching(start: Start, tmp_path: Path) -> Iterator[Attaching]:
    """Records of an earlier run."""
    rig = start()
    bodies = [item.document for item in batch_for(dict.fromkeys(KEYS, Wanted())).rows]
    earlier = {"byovBatch": "of-an-earlier-run", LEFT: "red"}
    rows = [Outbound(document.key, {**document.properties, **earlier}) for document in bodies]
    ids = rig.faulty.honest_wire().create(LABEL, rows)
    with contextlib.closing(open_state(tmp_path / "state.db", lambda: SENT_AT, create=True)) as state:
        state.runs.begin_run("reembed")
        bare = batch_for(dict.fromkeys(KEYS, Wanted(text=None)))
        state.journal.advance(TABLE, [Receipt(bare, ids)], PROPERTIES)
        yield Attaching(rig, state, dict(state.ledger.known(TABLE, list(KEYS), PROPERTIES)))


def row(key: str, wanted: Wanted | None = None) -> Row:
    """A row as it is read."""
    wanted = wanted or Wanted()
    return Row(key, (key,), wanted.properties(), (wanted.vector(key),))


def lose_all_but(keys: Sequence[str], attaching: Attaching, batch: Batch) -> Fault:
    """Answer a vectors call as if all of it had been stored."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.act(lose=True)
        attaching.attach_honestly(batch, keys)
        exchange.answer(answer)

    return fault


def test_a_row_that_lacks_its_vector_alone_gets_that_and_nothing_else(attaching: Attaching) -> None:
    """The base of what follows: a rewrite would cost the record its other vectors and its links."""
    [planned] = attaching.planned(row("1"))
    assert (planned.way, planned.known) == ("attach", attaching.known["1"])


@pytest.mark.parametrize("gone", [frozenset({LEFT}), frozenset({"never there"})], ids=["held", "not held"])
def test_a_record_that_lags_behind_the_settings_is_written_and_not_only_given_a_vector(
    attaching: Attaching, gone: frozenset[str]
) -> None:
    """Once it has its vector nothing tells that it holds what left the configuration: it would hold it for ever."""
    attaching.state.scope.begin_apply({}, {TABLE: Applying((SETTINGS,), gone)})
    [planned] = attaching.planned(row("1"))
    assert planned.way == ("rewrite" if LEFT in gone else "attach")


@pytest.mark.parametrize(
    "other",
    [row("9"), row("2", Wanted("Pilot")), row("3", Wanted(text="two"))],
    ids=["a new row", "another value", "another text"],
)
def test_a_filling_leaves_new_and_changed_rows_to_the_syncs(attaching: Attaching, other: Row) -> None:
    """They have to be written whole, with what a sync does for that: asking before it embeds thousands again."""
    proved = batch_for({"3": Wanted()}, "attach", attaching.known)
    attaching.state.journal.advance(TABLE, [Receipt(proved, {"3": attaching.known["3"].record_id})], PROPERTIES)
    assert [item.key for item in attaching.planned(other)] == [other.key]
    planned = attaching.planned(row("1"), other, vectors_only=True)
    assert [(item.key, item.way) for item in planned] == [("1", "attach")]


def test_vectors_are_attached_and_proved_without_a_wait(attaching: Attaching) -> None:
    """Records are not counted by the batch's name, which is in none of them: the batch was never proved."""
    before = attaching.records()
    [receipt] = attaching.rig.deliver(attaching.batch())
    assert attaching.with_vectors() == list(KEYS)
    assert attaching.records() == before
    assert receipt.record_ids == {key: known.record_id for key, known in attaching.known.items()}
    assert attaching.rig.time.waits == []


@pytest.mark.parametrize("kept", [(), ("1",), ("1", "2", "3")])
def test_vectors_that_were_answered_and_not_stored_are_attached_again_and_nothing_is_written(
    attaching: Attaching, kept: Sequence[str]
) -> None:
    """The way of the other batches looks for their name, finds nothing, and writes the records once more."""
    before, batch = attaching.records(), attaching.batch()
    attaching.rig.faulty.on(UPSERT, lose_all_but(kept, attaching, batch))
    attaching.rig.deliver(batch)
    assert attaching.with_vectors() == list(KEYS)
    assert attaching.records() == before
    assert attaching.rig.faulty.calls(IMPORT) == []


@pytest.mark.parametrize("fault", [act_then_close, close_at_once])
def test_a_lost_answer_is_asked_for_again(attaching: Attaching, fault: Fault) -> None:
    """Setting the same vectors twice does no harm."""
    before = attaching.records()
    attaching.rig.faulty.on(UPSERT, fault)
    attaching.rig.deliver(attaching.batch())
    assert attaching.with_vectors() == list(KEYS)
    assert attaching.records() == before


def test_only_the_batch_that_was_lost_is_attached_again(attaching: Attaching) -> None:
    """They are looked for by their keys: by its name no batch would be found, and each be sent again."""
    attaching.rig.faulty.on(UPSERT, None, lose_commit)
    attaching.rig.deliver(attaching.batch(KEYS[:2]), attaching.batch(KEYS[2:]))
    assert attaching.with_vectors() == list(KEYS)
    assert len(attaching.rig.faulty.calls(UPSERT)) == 3


def test_vectors_are_proved_although_somebody_adds_others_meanwhile(attaching: Attaching) -> None:
    """The index's count never fits again; looked for by the batch's name they are missed until the run gives up."""
    accepted = attaching.rig.delivery.send(attaching.batch())
    attaching.add_others_vector()
    [receipt] = attaching.rig.delivery.confirm([accepted])
    assert set(receipt.record_ids) == set(KEYS)
    assert len(attaching.rig.faulty.calls(UPSERT)) == 1


def test_a_record_that_is_gone_is_rejected_and_the_others_get_their_vectors(attaching: Attaching) -> None:
    """RushDB refuses the whole call for one record; what is left out must be told, or its row counts as done."""
    attaching.rig.faulty.honest_wire().delete(LABEL, [attaching.known["2"].record_id])
    accepted = attaching.rig.delivery.send(attaching.batch())
    [receipt] = attaching.rig.delivery.confirm([accepted])
    assert [(item.key, item.code) for item in accepted.rejected] == [("2", "record-gone")]
    assert set(receipt.record_ids) == {"1", "3", "4"}
    assert attaching.with_vectors() == ["1", "3", "4"]
    assert set(attaching.records()) == {"1", "3", "4"}


def test_records_that_go_one_after_the_other_are_all_told(attaching: Attaching) -> None:
    """The second refusal must not forget what the first one found."""
    doomed = ["2", "3"]

    def decide(seen: Seen) -> Fault | None:
        if seen.path.endswith(UPSERT) and doomed:
            attaching.rig.faulty.honest_wire().delete(LABEL, [attaching.known[doomed.pop()].record_id])
        return None

    attaching.rig.faulty.decide = decide
    accepted = attaching.rig.delivery.send(attaching.batch())
    assert sorted(item.key for item in accepted.rejected) == ["2", "3"]
    assert set(accepted.record_ids) == {"1", "4"}


def test_a_record_that_was_gone_is_known_as_unsettled_and_its_row_is_read_again(attaching: Attaching) -> None:
    """Its hash said that nothing was to be done, for ever."""
    batch = attaching.batch()
    attaching.state.journal.intend(TABLE, batch, PROPERTIES)
    ids = {key: known.record_id for key, known in attaching.known.items() if key != "2"}
    attaching.state.journal.advance(TABLE, [Receipt(batch, ids)], PROPERTIES)
    known = attaching.state.ledger.known(TABLE, list(KEYS), PROPERTIES)
    assert [key for key, record in known.items() if not record.hash] == ["2"]
    assert [key for key, record in known.items() if record.text_hashes == (None,)] == ["2"]


def test_vectors_that_a_killed_run_attached_are_settled_as_they_are(attaching: Attaching) -> None:
    """Nothing is embedded twice. An intent that speaks of a record is looked for by name, which nothing carries."""
    batch = attaching.batch()
    attaching.state.journal.intend(TABLE, batch, PROPERTIES)
    [intent] = attaching.state.journal.intents(TABLE)
    assert intent.attaches
    attaching.rig.delivery.send(batch)
    assert attaching.settle() == len(KEYS)
    known = attaching.state.ledger.known(TABLE, list(KEYS), PROPERTIES)
    marks = {item.document.key: item.document.text_hashes for item in batch.rows}
    assert known == {key: replace(attaching.known[key], text_hashes=marks[key]) for key in KEYS}
    assert attaching.state.journal.intents(TABLE) == []


@pytest.mark.parametrize("kept", [(), ("1", "2", "3")])
def test_vectors_of_a_killed_run_that_are_not_all_there_are_not_settled(
    attaching: Attaching, kept: Sequence[str]
) -> None:
    """A vector that is taken for stored is never made, and verify by the state does not see it."""
    batch, before = attaching.batch(), attaching.records()
    attaching.state.journal.intend(TABLE, batch, PROPERTIES)
    attaching.attach_honestly(batch, kept)
    assert attaching.settle() == 0
    assert dict(attaching.state.ledger.known(TABLE, list(KEYS), PROPERTIES)) == attaching.known
    assert attaching.state.journal.intents(TABLE) == []
    assert attaching.records() == before


def test_another_vector_than_the_killed_run_sent_is_not_settled(attaching: Attaching) -> None:
    """It is there, and it is that of another text."""
    batch = attaching.batch()
    attaching.state.journal.intend(TABLE, batch, PROPERTIES)
    attaching.rig.delivery.send(batch)
    attaching.rig.faulty.honest_wire().attach(attaching.index, {attaching.known["3"].record_id: PROBES[1]})
    assert attaching.settle() == 0
    assert dict(attaching.state.ledger.known(TABLE, list(KEYS), PROPERTIES)) == attaching.known
