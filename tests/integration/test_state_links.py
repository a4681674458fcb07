"""Links in the state: what is implied, what stands, and what is loose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from byov_migrate.records import Batch, Receipt
from byov_migrate.state import State, open_state
from byov_migrate.state.links import LinkRow
from tests.faults.batches import batch_of, numbered

JOB, TAG = "public.job", "public.tag"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Jobs 1 to 3 and tags 1 to 3, stored; a carried link within the jobs, and pairs of jobs and tags."""
    opened = open_state(tmp_path / "state.db", lambda: 0.0, create=True)
    opened.runs.begin_run("backfill")
    opened.links.register([LinkRow("Job.UNDER", "UNDER", JOB, JOB, True), LinkRow("Job.HAS", "HAS", JOB, TAG, False)])
    for table in (JOB, TAG):
        opened.journal.advance(table, [received(batch_of(numbered(3)))], ["description"])
    yield opened
    opened.close()


def received(batch: Batch) -> Receipt:
    """As the target would give it."""
    return Receipt(batch, {item.document.key: f"id-{item.document.key}" for item in batch.rows})


def pairs_of(state: State) -> list[tuple[str, str]]:
    """Loose pairs."""
    return [(edge.source.key, edge.target.key) for edge in state.links.loose("Job.HAS")]


def read_and_linked(state: State, pairs: list[tuple[str, str, str]]) -> None:
    """A run that came to its end."""
    state.links.read_pairs("Job.HAS", pairs)
    state.links.settle_pairs("Job.HAS", len(pairs), "sum")
    state.links.mark_edges("Job.HAS", list(state.links.loose("Job.HAS")))


def test_pairs_are_loose_until_they_are_marked_and_again_when_their_properties_change(state: State) -> None:
    """A pair that is told again as it was stays linked."""
    keys = [item.document.key for item in batch_of(numbered(3)).rows]
    read_and_linked(state, [(keys[0], keys[1], ""), (keys[1], keys[2], "old")])
    assert not state.links.has_loose("Job.HAS")
    state.links.read_pairs("Job.HAS", [(keys[0], keys[1], ""), (keys[1], keys[2], "new")])
    assert pairs_of(state) == [(keys[1], keys[2])]


def test_a_pair_that_comes_back_while_its_link_is_removed_is_linked_again(state: State) -> None:
    """The run that removed it was stopped before it was settled, and the sum is that of before."""
    keys = [item.document.key for item in batch_of(numbered(3)).rows]
    pair = (keys[0], keys[1], "")
    read_and_linked(state, [pair])
    state.links.read_pairs("Job.HAS", [])
    assert state.links.pair_sum("Job.HAS") is None
    assert [(edge.source.key, edge.target.key) for edge in state.links.out_of_date("Job.HAS")] == [pair[:2]]
    state.links.read_pairs("Job.HAS", [pair])
    assert (pairs_of(state), state.links.out_of_date("Job.HAS")) == ([pair[:2]], [])


def test_a_batch_of_before_may_name_a_link_that_there_is_no_more(state: State) -> None:
    """It was under way when the configuration was changed."""
    batch = batch_of(numbered(3))
    rows = [replace(row, document=replace(row.document, refs={"GONE": ("1",), "UNDER": ("2",)})) for row in batch.rows]
    state.journal.intend(JOB, replace(batch, rows=tuple(rows)), ["description"])
    [intent] = state.journal.intents(JOB)
    state.journal.settle_intent(JOB, intent, {row.document.key: f"id-{row.document.key}" for row in rows})
    known = state.ledger.known(JOB, [row.document.key for row in rows], ["description"])
    assert {key: item.refs for key, item in known.items()} == {key: {"UNDER": ("2",)} for key in known}


def test_records_whose_last_write_is_not_proved_are_not_joined(state: State) -> None:
    """What they hold nobody knows: the join would not find them, and the run would end with a difference."""
    batch = batch_of(numbered(3))
    rows = [replace(row, document=replace(row.document, refs={"UNDER": ("1",)})) for row in batch.rows]
    state.journal.advance(JOB, [received(replace(batch, rows=tuple(rows)))], ["description"])
    [(name, (edges, records))] = state.links.loose_by_batch("Job.UNDER").items()
    state.journal.point(JOB, {rows[0].document.key: "id-new"})
    assert state.links.loose_by_batch("Job.UNDER") == {name: (edges - 1, records - 1)}


def test_a_record_whose_row_is_refused_after_its_links_were_removed_is_linked_again(state: State) -> None:
    """It holds what it held, so the next join finds its end."""
    batch = batch_of(numbered(3))
    rows = tuple(replace(row, document=replace(row.document, refs={"UNDER": ("3",)})) for row in batch.rows)
    state.journal.advance(JOB, [received(replace(batch, rows=rows))], ["description"])
    state.links.mark_batches("Job.UNDER", [batch.id])
    assert not state.links.has_loose("Job.UNDER")
    keys = [row.document.key for row in rows]
    known = state.ledger.known(JOB, keys, ["description"])
    over = tuple(replace(row, document=replace(row.document, known=known[row.document.key])) for row in rows)
    receipt = Receipt(Batch("other", over, way="append"), {key: f"id-{key}" for key in keys[1:]})
    state.journal.advance(JOB, [receipt], ["description"])
    assert [edge.source.key for edge in state.links.loose("Job.UNDER")] == keys[:1]
