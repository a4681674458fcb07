"""Re-embedding where something else goes on: runs that are killed, rows that one model refuses, models that go away."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byov_migrate import backfill
from byov_migrate.config import Config, parse_config
from byov_migrate.errors import ConfigurationError, MigrationError, Refused
from byov_migrate.jobs import carriers as resolving
from byov_migrate.jobs.adopt import adopt
from byov_migrate.jobs.models import QueryEncoder
from byov_migrate.jobs.reembed import drop, reembed, switch
from byov_migrate.jobs.search import search
from byov_migrate.jobs.status import status
from byov_migrate.jobs.undo import undo
from byov_migrate.jobs.verify import verify
from byov_migrate.records import Batch
from byov_migrate.report.reembedding import print_switch
from byov_migrate.state.carriers import Carriers
from byov_migrate.target import provision
from byov_migrate.target.delivery import Accepted, Delivery
from tests.reembed_rig import (
    COLUMNS,
    TEXTS,
    add_model,
    differences,
    fill,
    killed_in,
    move_to,
    nearest,
    records,
    rig,
    unfilled,
    use,
)
from tests.sync_rig import SyncRig

__all__ = ["rig", "unfilled"]

LONG = "a long text that goes on and on and on and on and on and on and on and on and on and on and on and on " * 4
REFUSING = {"long_text": "reject", "max_tokens": 32}
OTHER_TEXTS = "UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14"
COMMANDS: dict[str, Callable[[SyncRig], object]] = {
    "sync": lambda rig: rig.sync(),
    "full sync": lambda rig: rig.sync(full=True),
    "verify": lambda rig: verify(rig.config(), surroundings=rig.around()),
    "reembed": lambda rig: fill(rig, model="new"),
    "backfill": lambda rig: rig.backfill(),
    "search": lambda rig: search(rig.config(), "a text", surroundings=rig.around()),
    "drop": lambda rig: drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around()),
}
TWO_CYCLES = pytest.mark.parametrize("second", [False, True], ids=["first cycle", "second cycle"])


def killed_fill(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A re-embedding that was killed when every vector was sent and none was proved."""
    killed_in(monkeypatch, Delivery, "confirm", lambda: fill(rig, model="new"))


def killed_drop(rig: SyncRig, monkeypatch: pytest.MonkeyPatch, property_name: str) -> None:
    """A drop that was killed before the index was deleted."""
    around = rig.around()
    job = lambda: drop(rig.config(), agreed=[property_name], surroundings=around)  # noqa: E731
    killed_in(monkeypatch, provision, "delete_index", job)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_drop_that_was_killed_stops_no_command(rig: SyncRig, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The scope still spoke of the carrier that nobody kept current any more, and every job took it for a change."""
    fill(rig, model="new")
    killed_drop(rig, monkeypatch, "descriptionAlt")
    COMMANDS[command](rig)
    assert differences(rig) == 0


def test_undo_after_a_killed_drop_leaves_no_index(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a carrier that is leaving is ours still."""
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    use(rig, "new")
    killed_drop(rig, monkeypatch, "description")
    [done] = undo(rig.config(), agreed=[rig.label], surroundings=rig.around()).tables
    assert (sorted(done.indexes_deleted), done.indexes_kept) == (["description", "descriptionAlt"], ())


def test_a_row_that_only_the_candidate_refuses_follows_its_row(unfilled: SyncRig) -> None:
    """It was rejected as a whole: searches used a record that stayed as it was, and dropping did not mend it."""
    rig = unfilled
    rig.execute("UPDATE job SET body = %s WHERE id = 12", (LONG,))
    rig.models["new"] |= REFUSING
    rig.backfill()
    [result] = fill(rig, model="new").embeddings
    assert (result.refused, result.rejects, result.rejected_new) == (1, 0, 0)
    assert (result.vectors, result.live_vectors) == (TEXTS - 1, TEXTS)
    rig.execute("UPDATE job SET pay = 4711 WHERE id = 12")
    rig.sync()
    assert rig.opened_state().ledger.rejects("public.job") == []
    assert records(rig)["12"]["pay"] == 4711
    drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
    assert differences(rig) == 0


def test_a_text_that_has_become_too_long_for_the_candidate_alone_is_searched_by_the_live_model(rig: SyncRig) -> None:
    """The live vector follows the text; the candidate's, of the old text, goes."""
    rig.models["new"] |= REFUSING
    fill(rig, model="new")
    rig.execute("UPDATE job SET body = %s WHERE id = 12", (LONG,))
    rig.sync()
    with rig.opened_state().store.reading() as connection:
        held = connection.exec_driver_sql("SELECT property FROM vector WHERE key = '12'").scalars().all()
    assert held == ["description"]
    assert rig.opened_state().ledger.rejects("public.job") == []
    drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
    assert differences(rig) == 0


def test_a_row_that_the_old_model_refused_is_made_once_its_vectors_are_dropped(unfilled: SyncRig) -> None:
    """The reject was forgotten and the row, which had not changed, was never read again."""
    rig = unfilled
    rig.execute("UPDATE job SET body = %s WHERE id = 12", (LONG,))
    rig.models["old"] |= REFUSING
    rig.backfill()
    rig.sync()
    assert "12" not in records(rig)
    move_to(rig, "new", "description")
    rig.sync()
    assert "12" in records(rig)
    assert differences(rig) == 0


def test_a_kill_between_index_and_state_leaves_every_model_possible(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that was left had the dimension of a model that nobody asks for any more."""
    add_model(rig, "third", dimension=12, seed=3)
    killed_in(monkeypatch, Carriers, "begin", lambda: fill(rig, model="new"))
    [result] = fill(rig, model="third").embeddings
    assert (result.vectors, result.model) == (TEXTS, "third")
    assert differences(rig) == 0


def test_a_third_model_of_another_dimension_comes_where_the_first_was(rig: SyncRig) -> None:
    """The property is spare again, whatever it carried."""
    add_model(rig, "third", dimension=12, seed=3)
    move_to(rig, "new", "description")
    fill(rig, model="third")
    assert differences(rig) == 0


@pytest.mark.parametrize("dropped", [False, True])
def test_refresh_after_two_reembeddings_ends_with_the_third_model(rig: SyncRig, *, dropped: bool) -> None:
    """The third stands under the first one's property, so the property tells nothing; its dimension is the same too."""
    add_model(rig, "third", dimension=4, seed=3)
    encoder = QueryEncoder(rig.config(), surroundings=rig.around())
    first = encoder.encode("a text of its own")
    move_to(rig, "new", "description")
    fill(rig, model="third")
    switch(rig.config(), surroundings=rig.around())
    if dropped:
        use(rig, "third")
        drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
    assert encoder.refresh()
    third = QueryEncoder(rig.config(), surroundings=rig.around()).encode("a text of its own")
    assert encoder.property_name == "description"
    assert np.array_equal(encoder.encode("a text of its own"), third)
    assert not np.allclose(first, third)
    assert not encoder.refresh()


def test_refresh_with_the_configuration_from_before_the_drop_takes_the_model_that_the_state_names(rig: SyncRig) -> None:
    """An application reads its configuration at its start; it would have asked new vectors by the old model."""
    encoder = QueryEncoder(rig.config(), surroundings=rig.around())
    move_to(rig, "new", "description")
    assert encoder.refresh()
    assert (encoder.property_name, encoder.dimension, len(encoder.encode("a text"))) == ("descriptionAlt", 8, 8)


def test_refresh_reads_no_model_when_nothing_has_changed(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application asks before every search; gigabytes were read each time."""
    fill(rig, model="new")
    encoder = QueryEncoder(rig.config(), surroundings=rig.around())

    def read(_model: object) -> str:
        pytest.fail("a model's files were read")

    monkeypatch.setattr(resolving, "fingerprint_of", read)
    assert not encoder.refresh()


def test_a_state_that_was_lost_after_switch_and_sync_is_adopted_by_the_live_model(rig: SyncRig) -> None:
    """What was written since the switch carries no mark, and neither model was accepted."""
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    rig.execute(OTHER_TEXTS)
    rig.sync()
    found = nearest(rig)
    rig.config().state_path.unlink()
    use(rig, "new")
    adopt(rig.config(), agreed=[rig.label], surroundings=rig.around())
    assert nearest(rig) == found
    rig.sync(full=True)
    assert differences(rig) == 0


def test_a_configuration_whose_model_did_not_make_the_vectors_is_not_adopted(rig: SyncRig) -> None:
    """Both have four dimensions: searches would have ranked by chance, and nobody would have been told."""
    add_model(rig, "new", dimension=4, seed=5)
    move_to(rig, "new", "description")
    rig.config().state_path.unlink()
    use(rig, "old")  # a file from before
    with pytest.raises(Refused) as refused:
        adopt(rig.config(), agreed=[rig.label], surroundings=rig.around())
    assert refused.value.next_step
    use(rig, "new")
    adopt(rig.config(), agreed=[rig.label], surroundings=rig.around())
    assert differences(rig) == 0


def test_searches_after_the_switch_do_not_need_the_old_model(rig: SyncRig) -> None:
    """Its files were read to see that they are what they were, by those who never use them."""
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())
    use(rig, "new")
    found = nearest(rig)
    shutil.rmtree(rig.models.pop("old")["path"])
    assert nearest(rig) == found
    assert QueryEncoder(rig.config(), surroundings=rig.around()).property_name == "descriptionAlt"
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    rig.sync()
    assert differences(rig) == 0


def test_a_candidate_whose_model_is_gone_stops_syncs_alone_and_can_be_dropped(rig: SyncRig) -> None:
    """Searches go on; a sync could keep one of two kinds current only, and says what to do."""
    fill(rig, model="new")
    found = nearest(rig)
    shutil.rmtree(rig.models["new"]["path"])
    assert nearest(rig) == found
    rig.execute(OTHER_TEXTS)
    with pytest.raises(MigrationError) as refused:
        rig.sync()
    assert refused.value.next_step
    drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
    del rig.models["new"]
    assert rig.sync().updated == 5
    assert differences(rig) == 0


@TWO_CYCLES
def test_the_way_that_drop_advises_leads_there(rig: SyncRig, *, second: bool) -> None:
    """It said `switch` where the older vectors were meant, which does nothing."""
    names = ["description", "descriptionAlt"]
    if second:
        move_to(rig, "new", "description")
        names.reverse()
    first, other = ("new", "old") if second else ("old", "new")
    fill(rig, model=other)
    switch(rig.config(), surroundings=rig.around())
    with pytest.raises(Refused) as refused:
        drop(rig.config(), agreed=[names[0]], surroundings=rig.around())
    assert "byov-migrate reembed switch --back" in str(refused.value.next_step)
    switch(rig.config(), back=True, surroundings=rig.around())
    use(rig, other)
    with pytest.raises(Refused) as refused:
        drop(rig.config(), agreed=[names[1]], surroundings=rig.around())
    assert "--back" not in str(refused.value.next_step)
    use(rig, first)
    [gone] = drop(rig.config(), agreed=[names[1]], surroundings=rig.around()).embeddings
    assert (gone.property_name, gone.kept) == (names[1], names[0])


@TWO_CYCLES
def test_the_way_back_that_is_told_leads_back(
    rig: SyncRig, capsys: pytest.CaptureFixture[str], *, second: bool
) -> None:
    """In the second cycle the newer vectors are those under the embedding's own property."""
    if second:
        move_to(rig, "new", "description")
    fill(rig, model="old" if second else "new")
    [before] = switch(rig.config(), back=True, surroundings=rig.around()).embeddings
    for _ in range(2):
        [now] = (result := switch(rig.config(), surroundings=rig.around())).embeddings
        assert now.carrier != before.carrier
        print_switch(result)
        assert "--back" in capsys.readouterr().out
        result = switch(rig.config(), back=True, surroundings=rig.around())
        assert result.embeddings[0].carrier == before.carrier
        print_switch(result)
        told = capsys.readouterr().out
        assert "byov-migrate reembed switch" in told
        assert "--back" not in told


def test_a_record_that_is_deleted_while_it_is_filled_is_made_anew_by_the_next_sync(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was rejected with the promise that the next sync makes it, and no sync ever read its row again."""
    send, id_of = Delivery.send, rig.ids()["17"]

    def deleting(self: Delivery, batch: Batch) -> Accepted:
        if batch.way == "attach" and any(item.document.key == "17" for item in batch.rows):
            rig.post("/records/delete", {"labels": [rig.label], "where": {"$id": {"$in": [id_of]}}})
        return send(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "send", deleting)
        fill(rig, model="new")
    rig.sync()
    assert rig.ids()["17"] != id_of
    assert differences(rig) == 0


def test_rejects_of_the_syncs_in_between_end_it_with_3(unfilled: SyncRig) -> None:
    """They are as new as those of the filling, and cron told nobody."""
    rig = unfilled
    rig.models["old"] |= REFUSING
    rig.backfill()
    rig.execute("UPDATE job SET body = %s WHERE id = 12", (LONG,))
    result = fill(rig, model="new")
    assert (result.embeddings[0].rejects, result.embeddings[0].rejected_new, result.exit_code) == (1, 1, 3)


def test_an_index_that_somebody_deletes_while_it_is_filled_is_never_complete(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state knew all its vectors, so nothing was to be done, and searches were switched to an empty index."""
    killed_in(monkeypatch, Carriers, "complete", lambda: fill(rig, model="new"))
    rig.delete_index("descriptionAlt")
    with pytest.raises(Refused) as refused:
        fill(rig, model="new")
    assert "byov-migrate reembed drop --yes descriptionAlt" in str(refused.value.next_step)
    with pytest.raises(Refused, match="not filled"):
        switch(rig.config(), surroundings=rig.around())
    drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
    fill(rig, model="new")
    assert differences(rig) == 0


def test_a_clock_that_was_set_back_does_not_make_the_new_vectors_the_old_ones(rig: SyncRig) -> None:
    """Which of two is newer was told by the time alone: `switch` went nowhere, `--back` forward."""
    rig.now = 1_000_000_000.0
    for _ in range(2):
        assert fill(rig, model="new").embeddings[0].carrier == "descriptionAlt"
    [switched] = switch(rig.config(), surroundings=rig.around()).embeddings
    assert (switched.carrier, switched.before) == ("descriptionAlt", "description")


def test_a_state_of_an_earlier_version_is_looked_at_and_written(rig: SyncRig) -> None:
    """It has neither of the two tables, and those who only look make none."""
    with sqlite3.connect(rig.config().state_path) as connection:
        connection.execute("DROP TABLE carrier")
        connection.execute("DROP TABLE adopted")
    assert nearest(rig)
    assert differences(rig) == 0
    assert QueryEncoder(rig.config(), surroundings=rig.around()).property_name == "description"
    assert rig.forecast().to_update == 0
    assert fill(rig, model="new").embeddings[0].vectors == TEXTS
    assert differences(rig) == 0


def test_ready_vectors_are_not_embedded_anew_by_naming_a_model(unfilled: SyncRig) -> None:
    """There is no text to embed; the refusal called the embedding unknown and listed none."""
    rig = unfilled
    rig.table = {"columns": ["id", "title"], "embeddings": [{"property": "description", "vector": "embedding"}]}
    rig.backfill()
    with pytest.raises(ConfigurationError) as refused:
        fill(rig, model="new")
    assert "edit" in f"{refused.value} {refused.value.next_step}"


def test_a_model_for_the_queries_of_ready_vectors_may_be_named_while_there_are_two(rig: SyncRig) -> None:
    """The state cannot know it: which model made a column's vectors is said by the file alone, whenever that is."""
    ready = {"property": "description", "vector": "embedding", "text": "{body}"}
    rig.table = {"columns": list(COLUMNS), "embeddings": [ready]}
    fill(rig)
    switch(rig.config(), surroundings=rig.around())
    with pytest.raises(ConfigurationError, match="no model is named to embed a query"):
        nearest(rig)
    rig.table = {"columns": list(COLUMNS), "embeddings": [{**ready, "model": "old"}]}
    assert len(nearest(rig)) == 10
    assert QueryEncoder(rig.config(), surroundings=rig.around()).dimension == 4


def two_tables(rig: SyncRig, model: str, *, spare: bool) -> Config:
    """`job`, and a table `other` that has a spare property or not."""
    embedding = {"property": "description", "text": "{body}", "model": model}
    other = {"name": "public.other", "label": f"{rig.label}Other", "columns": ["id"]}
    content = {
        "source": {"dsn": {"env": "DSN"}},
        "target": {"url": rig.url, "api_key": {"env": "KEY"}, "give_up_after": "60s"},
        "models": rig.models,
        "tables": [
            {"name": "public.job", "label": rig.label, "columns": list(COLUMNS), "embeddings": [embedding]},
            {**other, "embeddings": [{**embedding, "spare": spare}]},
        ],
    }
    return parse_config(content, {}, base=rig.folder, stem="jobs")


def test_of_two_tables_one_that_is_not_ready_keeps_the_other_from_being_begun(unfilled: SyncRig) -> None:
    """The refusal left an index and a carrier behind, and then neither configuration fitted."""
    rig = unfilled
    rig.execute("CREATE TABLE other (id int PRIMARY KEY, body text)")
    rig.execute("INSERT INTO other SELECT n, 'a text ' || n FROM generate_series(1, 9) n")
    backfill(two_tables(rig, "old", spare=False), surroundings=rig.around())
    with pytest.raises(Refused, match="no property descriptionAlt"):
        reembed(two_tables(rig, "new", spare=False), surroundings=rig.around())
    assert [item.property_name for item in rig.opened_state().carriers.of("public.job", "description")] == [
        "description"
    ]
    assert {index["propertyName"] for index in rig.call("GET", "/ai/indexes")["data"]} == {"description"}
    backfill(two_tables(rig, "old", spare=True), apply=True, surroundings=rig.around())
    filled = reembed(two_tables(rig, "new", spare=True), surroundings=rig.around()).embeddings
    assert [item.vectors for item in filled] == [TEXTS, 9]


def kind(rig: SyncRig, what: str, model: str = "old") -> None:
    """Configure one of the ways in which an embedding can be kept."""
    described: dict[str, Any] = {"property": "description", "text": "{body}", "model": model}
    headline = {"property": "headline", "text": "{title}", "model": "old"}
    rig.state = {"vectors": what == "cache"}
    rig.target = {"write": "inline"} if what == "inline" else {}
    described |= {"send_text": True} if what == "send" else {}
    rig.table = {"columns": list(COLUMNS), "embeddings": [described, *([headline] if what == "two" else [])]}
    if what == "hash":
        rig.table |= {"columns": ["title", "pay"], "hash_key_values": True}


@pytest.mark.parametrize("what", ["hash", "cache", "send", "two", "inline"])
def test_every_kind_of_embedding_goes_there_and_back(unfilled: SyncRig, what: str) -> None:
    """Hashed keys, kept vectors, sent texts, a second embedding, vectors that are written inline: always exact."""
    rig, named = unfilled, {"embedding": "description"}
    kind(rig, what)
    rig.backfill()
    before = records(rig)
    fill(rig, model="new", **named)
    assert records(rig) == before
    assert differences(rig) == 0
    switch(rig.config(), surroundings=rig.around())
    rig.execute(OTHER_TEXTS)
    rig.execute("UPDATE job SET pay = 7 WHERE id BETWEEN 20 AND 24")
    rig.execute("UPDATE job SET title = NULL WHERE id = 26")
    done = rig.sync()
    if what == "cache":
        assert done.texts == 10  # five texts, by two models: the others are in the cache
    assert differences(rig) == 0
    kind(rig, what, "new")
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    rig.sync(full=True)
    assert differences(rig) == 0
    fill(rig, model="old", **named)
    assert differences(rig) == 0
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    assert differences(rig) == 0


def test_batches_that_a_killed_sync_left_do_not_stop_a_switch_and_stop_a_drop(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold vectors of both kinds: what is settled later must not bring back what is gone."""
    fill(rig, model="new")
    rig.execute(OTHER_TEXTS)
    killed_in(monkeypatch, Delivery, "confirm", rig.sync)
    assert rig.opened_state().journal.intents("public.job")
    switch(rig.config(), surroundings=rig.around())
    use(rig, "new")
    with pytest.raises(Refused, match=r"left batches of public\.job unsettled") as refused:
        drop(rig.config(), agreed=["description"], surroundings=rig.around())
    assert refused.value.next_step == "byov-migrate sync"
    rig.sync()
    assert differences(rig) == 0
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    assert differences(rig) == 0


def test_rows_that_change_after_a_killed_fill_get_the_vectors_of_what_they_are_now(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that were found whole are settled with the text that they were made of."""
    killed_fill(rig, monkeypatch)
    rig.execute(OTHER_TEXTS)
    rig.execute("UPDATE job SET body = NULL WHERE id = 15")
    [result] = fill(rig, model="new").embeddings
    assert (result.vectors, result.live_vectors) == (TEXTS - 1, TEXTS - 1)
    assert differences(rig) == 0


def test_a_record_whose_spare_property_an_application_removed_is_written_again(rig: SyncRig) -> None:
    """RushDB attaches a vector only to a property that is there; the whole batch was refused for one record."""
    record = records(rig)["17"]
    kept = {name: value for name, value in record.items() if not name.startswith("__") and name != "descriptionAlt"}
    rig.call("PUT", f"/records/{record['__id']}", {"label": rig.label, "data": kept})
    assert "descriptionAlt" not in records(rig)["17"]
    assert fill(rig, model="new").embeddings[0].vectors == TEXTS
    assert "descriptionAlt" in records(rig)["17"]
    assert differences(rig) == 0


def test_a_switch_that_is_refused_ends_its_run_with_its_code(rig: SyncRig) -> None:
    """`status` showed it as one that goes on for ever."""
    with pytest.raises(Refused):
        switch(rig.config(), surroundings=rig.around())
    run = status(rig.config(), surroundings=rig.around()).runs[0]
    assert (run["command"], run["exit_code"]) == ("reembed switch", Refused.exit_code)


def test_edited_settings_are_applied_while_there_are_two(rig: SyncRig) -> None:
    """Columns come and go, before the switch, after it, and after the drop."""

    def apply(*columns: str) -> None:
        rig.table = {**rig.table, "columns": list(columns)}
        with pytest.raises(Refused):
            rig.sync()
        backfill(rig.config(), apply=True, surroundings=rig.around())
        assert differences(rig) == 0

    fill(rig, model="new")
    apply("id", "title", "pay", "status")
    switch(rig.config(), surroundings=rig.around())
    use(rig, "new")
    apply("id", "title")
    drop(rig.config(), agreed=["description"], surroundings=rig.around())
    apply("id", "title", "pay")


def test_texts_that_are_sent_from_now_on_are_sent_while_there_are_two(rig: SyncRig) -> None:
    """`send_text` writes every record anew, and both vectors with it."""
    fill(rig, model="new")
    use(rig, "old", send_text=True)
    backfill(rig.config(), apply=True, surroundings=rig.around())
    assert differences(rig) == 0
    assert records(rig)["17"]["description"] == "a text of its own, number 17"
    switch(rig.config(), surroundings=rig.around())
    rig.execute(OTHER_TEXTS)
    rig.sync()
    assert records(rig)["10"]["description"] == "quite another text 10"
    assert differences(rig) == 0


def test_models_are_renamed_and_moved_while_there_are_two(rig: SyncRig, tmp_path: Path) -> None:
    """What counts is what a model makes: both names were taken for other models."""
    fill(rig, model="new")
    elsewhere = shutil.move(rig.models["old"]["path"], tmp_path / "elsewhere")
    rig.models = {"renamed": {**rig.models["old"], "path": str(elsewhere)}, "new": rig.models["new"]}
    use(rig, "renamed")
    rig.execute(OTHER_TEXTS)
    assert rig.sync().updated == 5
    assert differences(rig) == 0
    use(rig, "new")
    rig.execute("UPDATE job SET body = 'quite another text still ' || id WHERE id BETWEEN 10 AND 14")
    assert rig.sync().updated == 5
    assert differences(rig) == 0
    switch(rig.config(), surroundings=rig.around())
    assert nearest(rig)


def test_the_model_that_the_file_does_not_use_is_renamed_and_moved_while_there_are_two(
    rig: SyncRig, tmp_path: Path
) -> None:
    """It stands in the file still, under another name; only the folder that the state remembers was looked into."""
    fill(rig, model="new")
    use(rig, "new")
    elsewhere = shutil.move(rig.models["old"]["path"], tmp_path / "elsewhere")
    rig.models = {"renamed": {**rig.models["old"], "path": str(elsewhere)}, "new": rig.models["new"]}
    rig.execute(OTHER_TEXTS)
    assert rig.sync().updated == 5
    assert differences(rig) == 0
