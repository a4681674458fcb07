"""A better model beside the one in use: filled, kept current, switched to and back, dropped. No record is rewritten."""

from __future__ import annotations

import pytest

from byov_migrate import backfill, plan
from byov_migrate.errors import ConfigurationError, ConsentNeeded, Refused
from byov_migrate.jobs.adopt import adopt
from byov_migrate.jobs.check import check
from byov_migrate.jobs.evidence import gather
from byov_migrate.jobs.models import QueryEncoder
from byov_migrate.jobs.reembed import drop, switch
from byov_migrate.jobs.status import status
from byov_migrate.jobs.verify import verify
from byov_migrate.report.results import print_status
from tests.reembed_rig import ROWS, TEXTS, differences, fill, nearest, records, rig, unfilled, use
from tests.sync_rig import SyncRig

__all__ = ["rig", "unfilled"]


def test_other_vectors_come_beside_those_in_use_and_no_record_is_written(rig: SyncRig) -> None:
    """The records are, property by property, what they were; both kinds of vectors are proved."""
    before = records(rig)
    [result] = fill(rig, model="new").embeddings
    assert (result.carrier, result.vectors, result.live, result.live_vectors) == (
        "descriptionAlt",
        TEXTS,
        "description",
        TEXTS,
    )
    assert (result.texts, result.rejects) == (TEXTS, 0)
    assert records(rig) == before
    assert differences(rig) == 0


def test_searches_use_the_old_vectors_until_they_are_switched(rig: SyncRig) -> None:
    """The answers before and during are the same; after the switch they are those of the new model; and back."""
    old = nearest(rig)
    fill(rig, model="new")
    assert nearest(rig) == old
    new = nearest(rig, embedding="descriptionAlt")
    assert new != old
    [switched] = switch(rig.config(), surroundings=rig.around()).embeddings
    assert (switched.carrier, switched.model, switched.before) == ("descriptionAlt", "new", "description")
    assert nearest(rig) == new
    switch(rig.config(), back=True, surroundings=rig.around())
    assert nearest(rig) == old


def test_an_application_takes_the_new_model_without_a_restart(rig: SyncRig) -> None:
    """`refresh` looks whether there is another one; the property to ask by goes with it."""
    fill(rig, model="new")
    encoder = QueryEncoder(rig.config(), surroundings=rig.around())
    assert (encoder.property_name, encoder.dimension, encoder.refresh()) == ("description", 4, False)
    switch(rig.config(), surroundings=rig.around())
    assert encoder.refresh()
    assert (encoder.property_name, encoder.dimension, len(encoder.encode("a text"))) == ("descriptionAlt", 8, 8)


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("switched", [True, False])
def test_a_sync_keeps_both_current(rig: SyncRig, *, unique: bool, switched: bool) -> None:
    """New rows, other texts, other columns, texts that come and go, rows that are gone: verify finds no difference."""
    if unique:
        rig.make_keys_unique()
    fill(rig, model="new")
    if switched:
        switch(rig.config(), surroundings=rig.around())
    rig.execute(
        "INSERT INTO job (id, title, body) SELECT n, 't' || n, 'a new text ' || n FROM generate_series(41, 50) n"
    )
    rig.execute("UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14")
    rig.execute("UPDATE job SET pay = pay + 1 WHERE id BETWEEN 20 AND 24")
    rig.execute("UPDATE job SET body = NULL WHERE id = 30")
    rig.execute("UPDATE job SET body = 'it has one now' WHERE id = 3")
    rig.execute("UPDATE job SET title = NULL WHERE id = 33")
    rig.execute("DELETE FROM job WHERE id = 35")
    rig.sync(full=True)
    assert differences(rig) == 0
    with rig.opened_state().store.reading() as connection:
        assert connection.exec_driver_sql("SELECT property, count(*) FROM vector GROUP BY 1 ORDER BY 1").all() == [
            ("description", 44),
            ("descriptionAlt", 44),
        ]


def test_rows_that_change_while_it_is_filled_have_both(rig: SyncRig) -> None:
    """A re-embedding syncs before and after: what changed since the last sync is not filled with half a truth."""
    rig.execute("UPDATE job SET body = 'changed before ' || id WHERE id BETWEEN 10 AND 14")
    rig.execute("INSERT INTO job (id, body) VALUES (77, 'new before')")
    [result] = fill(rig, model="new").embeddings
    assert result.synced == 6
    assert (result.vectors, result.live_vectors) == (TEXTS + 1, TEXTS + 1)
    assert differences(rig) == 0


def test_the_new_model_may_be_an_edit_of_the_configuration(rig: SyncRig) -> None:
    """The state remembers how the old vectors are made: another name, path and prompt do not take it away."""
    rig.models = {"old": {**rig.models["new"], "document_prompt": "job: "}}
    with pytest.raises(Refused, match="fingerprint is now") as refused:
        rig.sync()
    assert str(refused.value.next_step).startswith("byov-migrate reembed,")
    fill(rig)
    rig.execute("UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14")
    rig.sync()
    assert differences(rig) == 0


def test_another_text_is_embedded_beside_the_old_one(rig: SyncRig) -> None:
    """A template that reads another column gives rows a vector that had none, and takes it from no other."""
    use(rig, "old", text="{title}\n{body}")
    with pytest.raises(Refused, match="text is now") as refused:
        rig.sync()
    assert str(refused.value.next_step).startswith("byov-migrate reembed,")
    [result] = fill(rig).embeddings
    assert (result.live_vectors, result.vectors) == (TEXTS, ROWS)
    assert differences(rig) == 0
    switch(rig.config(), surroundings=rig.around())
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    rig.execute("UPDATE job SET title = 'another title ' || id WHERE id < 8")
    rig.sync()
    assert differences(rig) == 0


def test_the_new_vectors_may_be_a_column(rig: SyncRig) -> None:
    """From a model to vectors that stand in PostgreSQL, as the class re-embed includes."""
    embedding = {"property": "description", "vector": "embedding", "text": "{body}", "model": "old"}
    rig.table = {"columns": ["id", "title", "pay"], "embeddings": [embedding]}
    [result] = fill(rig).embeddings
    assert (result.model, result.live_vectors, result.vectors) == ("column embedding", TEXTS, ROWS)
    assert differences(rig) == 0
    rig.execute("UPDATE job SET embedding = ARRAY[1, 2, 3, 4] WHERE id = 12")
    rig.sync()
    assert differences(rig) == 0


def test_the_old_vectors_are_dropped_and_the_property_is_spare_again(rig: SyncRig) -> None:
    """The next model goes where the first one was. Records are written by none of it."""
    before = records(rig)
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    with pytest.raises(Refused, match="searches use those under descriptionAlt") as refused:
        drop(rig.config(), agreed=["description"], surroundings=rig.around())
    assert "how those were made, by new" in str(refused.value.next_step)
    use(rig, "new")
    with pytest.raises(ConsentNeeded, match=r"35 vectors of .*description would be removed"):
        drop(rig.config(), surroundings=rig.around())
    with pytest.raises(ConfigurationError, match="that is not the property description"):
        drop(rig.config(), ask=lambda _: "descriptionAlt", surroundings=rig.around())
    [gone] = drop(rig.config(), agreed=["description"], surroundings=rig.around()).embeddings
    assert (gone.property_name, gone.vectors, gone.kept) == ("description", TEXTS, "descriptionAlt")
    assert differences(rig) == 0
    rig.execute("UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14")
    assert rig.sync().updated == 5
    [again] = fill(rig, model="old").embeddings
    assert (again.carrier, again.vectors, again.live) == ("description", TEXTS, "descriptionAlt")
    assert differences(rig) == 0
    after = records(rig)
    changed = {key for key, record in after.items() if record != before[key]}
    assert changed == {str(number) for number in range(10, 15)}


def test_a_candidate_that_is_no_better_is_dropped(rig: SyncRig) -> None:
    """Everything is as it was, and another one can be tried."""
    fill(rig, model="new")
    [gone] = drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around()).embeddings
    assert (gone.property_name, gone.kept) == ("descriptionAlt", "description")
    assert differences(rig) == 0
    rig.sync(full=True)
    [again] = fill(rig, model="new").embeddings
    assert again.vectors == TEXTS
    assert differences(rig) == 0


def test_it_is_said_what_stands_in_the_way(rig: SyncRig) -> None:
    """Nothing is made before these refusals."""
    around = rig.around()
    with pytest.raises(Refused, match="nothing to embed anew"):
        fill(rig)
    with pytest.raises(Refused, match="made by old already"):
        fill(rig, model="old")
    with pytest.raises(ConfigurationError, match=r"no \[models.newest\]"):
        fill(rig, model="newest")
    with pytest.raises(Refused, match="no second set of vectors to switch to"):
        switch(rig.config(), surroundings=around)
    with pytest.raises(Refused, match="no second set of vectors to drop"):
        drop(rig.config(), surroundings=around)
    fill(rig, model="new")
    rig.models["third"] = {**rig.models["new"], "document_prompt": "third: "}
    with pytest.raises(Refused, match="two sets of vectors already: description by old and descriptionAlt by new"):
        fill(rig, model="third")
    use(rig, "third")
    with pytest.raises(Refused, match="make other vectors than those under description"):
        rig.sync()


def test_records_without_a_spare_property_are_given_one_first(rig: SyncRig) -> None:
    """`spare = false` was a choice; the way out of it is said, and it works."""
    use(rig, "old", spare=False)
    backfill(rig.config(), apply=True, surroundings=rig.around())
    with pytest.raises(Refused, match="no property descriptionAlt") as refused:
        fill(rig, model="new")
    assert "spare = true" in str(refused.value.next_step)
    use(rig, "old")
    backfill(rig.config(), apply=True, surroundings=rig.around())
    assert fill(rig, model="new").embeddings[0].vectors == TEXTS
    use(rig, "old", spare=False)
    with pytest.raises(Refused, match="spare = false would remove it"):
        rig.sync()


def test_the_state_says_which_vectors_there_are(rig: SyncRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing while there is one kind under its own property; two lines while there are two."""
    print_status(status(rig.config(), surroundings=rig.around()))
    assert "description" not in capsys.readouterr().out
    fill(rig, model="new")
    print_status(status(rig.config(), surroundings=rig.around()))
    said = capsys.readouterr().out
    assert "  description: 35 vectors by old, which searches use\n" in said
    assert "  descriptionAlt: 35 vectors by new, kept current beside them\n" in said


def test_plan_and_check_know_of_both(rig: SyncRig) -> None:
    """Neither takes the second kind for a difference; the digest that was approved is still that of the file."""
    before = plan(rig.config(), surroundings=rig.around())
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    planned = plan(rig.config(), surroundings=rig.around())
    assert planned.digest == before.digest
    assert (planned.state.problem, planned.state.changes) == (None, ())
    failed = [item.what for item in check(rig.config(), surroundings=rig.around()).findings if item.verdict == "fail"]
    assert failed == []


def test_a_lost_state_is_adopted_with_the_vectors_under_the_spare_property(rig: SyncRig) -> None:
    """After a re-embedding was brought to its end nothing has to be embedded again to get the state back."""
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    use(rig, "new")
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    rig.config().state_path.unlink()
    [adopted] = adopt(rig.config(), agreed=[rig.label], surroundings=rig.around()).tables
    assert (adopted.differing, adopted.vectors) == (0, {"descriptionAlt": TEXTS})
    assert differences(rig) == 0
    rig.execute("UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14")
    done = rig.sync()
    assert (done.updated, done.texts) == (5, 5)
    assert differences(rig) == 0


def test_vectors_that_a_lost_state_has_left_make_room(rig: SyncRig) -> None:
    """Of two kinds a new state knows those of the configuration; the others are removed before new ones come."""
    fill(rig, model="new")
    rig.config().state_path.unlink()
    [adopted] = adopt(rig.config(), agreed=[rig.label], surroundings=rig.around()).tables
    assert (adopted.differing, adopted.vectors) == (0, {"description": TEXTS})
    [result] = fill(rig, model="new").embeddings
    assert (result.vectors, result.texts) == (TEXTS, TEXTS)
    assert differences(rig) == 0


def test_the_evidence_names_both_models_and_what_is_withheld_once(rig: SyncRig) -> None:
    """Each with its own fingerprint, counts and scores."""
    fill(rig, model="new")
    found = verify(rig.config(), surroundings=rig.around())
    [table] = gather(rig.config(), found, surroundings=rig.around()).tables
    told = {one.property_name: (one.model, one.dimension, one.vectors) for one in table.embeddings}
    assert told == {"description": ("old", 4, TEXTS), "descriptionAlt": ("new", 8, TEXTS)}
    assert len({one.fingerprint for one in table.embeddings}) == 2
    assert [one.name for one in table.withheld] == ["description", "descriptionAlt", "body"]
