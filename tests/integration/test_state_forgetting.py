"""What a state forgets of one table, and what it keeps of itself and of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from byov_migrate.state import State, open_state, schema
from byov_migrate.state.forgetting import Forgetting, embedded_properties, label_of
from byov_migrate.state.links import LinkRow

FIELDS = {
    "hash_key": "h",
    "source.system": "7",
    "target.project": "p",
    "tables[public.job].label": "Job",
    "tables[public.job].embeddings[text].spare": True,
    "tables[public.job].embeddings[odd].name].spare": False,
    "tables[public.job].embeddings[text].send_text": True,
    "tables[public.job.company].label": "Company",
    "tables[public_job].label": "Other",
}
PLACES = {"hash_key", "source.system", "target.project"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state that belongs to three tables with names that are alike."""
    opened = open_state(tmp_path / "state.db", lambda: 1.0, create=True)
    opened.runs.begin_run("test")
    opened.scope.reidentify(FIELDS)
    for name in ("public.job", "public.job.company"):
        opened.journal.store_plan(name, [], rows=1, snapshot="")
        opened.cursors.begin(name, {})
        opened.journal.point(name, {f"{number}": f"id-{number}" for number in range(5)})
    opened.reports.keep("verify", {"tables": [{"table": "public.job"}]})
    opened.reports.keep("other", {"tables": [{"table": "public.job.company"}]})
    yield opened
    opened.close()


def test_first_the_plan_the_cursor_and_the_report_go_and_the_ledger_stays(state: State) -> None:
    """It says what is left to delete; nothing else can be gone by meanwhile."""
    Forgetting(state.store).begin("public.job")
    assert (state.journal.plan("public.job"), state.cursors.of("public.job")) == (None, None)
    assert state.journal.open_ranges("public.job") == []
    assert (state.ledger.count_records("public.job"), state.reports.last("verify")) == (5, None)
    assert state.scope.fields() == FIELDS


def test_then_everything_goes_and_other_tables_keep_theirs(state: State) -> None:
    """A name that begins alike, or that a pattern would match, is another table."""
    Forgetting(state.store).finish("public.job")
    assert state.ledger.count_records("public.job") == 0
    assert state.journal.plan("public.job") is None
    assert state.reports.last("verify") is None
    kept = {"tables[public.job.company].label", "tables[public_job].label"}
    assert state.scope.fields().keys() == PLACES | kept
    assert state.ledger.count_records("public.job.company") == 5
    assert state.journal.plan("public.job.company") is not None
    assert state.reports.last("other") is not None


def test_after_the_last_table_the_state_belongs_nowhere(state: State) -> None:
    """But to its hash key, and it is still the same state."""
    before = state.runs.state_id
    for name in ("public.job", "public.job.company", "public_job"):
        Forgetting(state.store).finish(name)
    assert state.scope.fields() == {"hash_key": "h"}
    assert (state.runs.state_id, len(state.runs.last(9))) == (before, 1)


def test_keys_come_in_portions(state: State) -> None:
    """As many as are asked for, until there are none."""
    forgetting = Forgetting(state.store)
    assert forgetting.some_keys("public.job", 3) == ["0", "1", "2"]
    assert forgetting.some_keys("public_job", 3) == []


def test_what_the_state_says_of_a_table_is_read_from_its_scope() -> None:
    """Also a property whose name looks like the syntax around it."""
    assert embedded_properties(FIELDS, "public.job") == {"text": True, "odd].name": False}
    assert (label_of(FIELDS, "public.job"), label_of(FIELDS, "public.jobs")) == ("Job", None)


def test_links_that_lead_from_the_table_go_and_those_that_lead_there_stay_loose(state: State) -> None:
    """Rows of another table still refer to it: once it is moved again they are linked without being written."""
    state.links.register(
        [
            LinkRow("from", "IN", "public.job", "public.job.company", carried=False),
            LinkRow("to", "OF", "public.job.company", "public.job", carried=False),
        ]
    )
    for name in ("from", "to"):
        state.links.read_pairs(name, [("1", "2", "")])
        state.links.mark_edges(name, list(state.links.loose(name)))
        state.links.settle_pairs(name, 1, "sum")
    state.journal.end_removal("public.job", [f"{number}" for number in range(5)])
    Forgetting(state.store).finish("public.job")
    assert state.links.names() == ["to"]
    state.journal.point("public.job", {"2": "id-anew"})
    assert [(edge.source.key, edge.target.record_id) for edge in state.links.loose("to")] == [("1", "id-anew")]
    with state.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.edge)).scalar_one() == 1
