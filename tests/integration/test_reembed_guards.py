"""What keeps a second set of vectors from being half a truth: each guard by a run that would go wrong without it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from byov_migrate import backfill
from byov_migrate.errors import Refused
from byov_migrate.jobs.reembed import drop, filling, switch
from byov_migrate.records import Batch, Vector
from byov_migrate.state.carriers import Carriers
from byov_migrate.target.delivery import Accepted, Delivery
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Index
from tests.reembed_rig import TEXTS, Killed, differences, fill, killed_in, move_to, records, rig, unfilled, use
from tests.sync_rig import SyncRig

__all__ = ["rig", "unfilled"]

OTHER_TEXTS = "UPDATE job SET body = 'quite another text ' || id WHERE id BETWEEN 10 AND 14"
SECOND = "descriptionAlt"


def cached(rig: SyncRig) -> dict[str, int]:
    """How many vectors are kept on this machine, by property."""
    with rig.opened_state().store.reading() as connection:
        found = connection.exec_driver_sql("SELECT property, count(*) FROM vector_cache GROUP BY 1").all()
    return {str(name): int(count) for name, count in found}


@pytest.mark.parametrize("stored", [0, TEXTS - 1])
def test_vectors_that_are_answered_and_not_stored_are_attached_again(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch, stored: int
) -> None:
    """The first call keeps none, or all but one, and answers as if it had kept all."""
    attach, calls = RestWire.attach, []

    def lossy(self: RestWire, index: Index, vectors: Mapping[str, Vector]) -> None:
        calls.append(len(vectors))
        some = dict(list(vectors.items())[:stored]) if len(calls) == 1 else vectors
        if some:
            attach(self, index, some)

    monkeypatch.setattr(RestWire, "attach", lossy)
    [result] = fill(rig, model="new").embeddings
    assert calls == [TEXTS, TEXTS]
    assert result.vectors == TEXTS
    assert differences(rig) == 0


def test_a_fill_that_was_killed_when_part_of_its_vectors_was_stored_is_run_again(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is taken for stored when only some of it is leaves a row without a vector for ever."""
    attach = RestWire.attach

    def part(self: RestWire, index: Index, vectors: Mapping[str, Vector]) -> None:
        attach(self, index, dict(list(vectors.items())[1:]))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RestWire, "attach", part)
        with pytest.raises(Killed):
            fill(rig, model="new")
    assert rig.opened_state().journal.intents("public.job")
    [result] = fill(rig, model="new").embeddings
    assert (result.vectors, result.texts) == (TEXTS, TEXTS)
    assert differences(rig) == 0


def test_a_fill_that_was_killed_when_all_was_stored_embeds_nothing_again(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of records that were not written are looked for by key; by the batch's name nothing is found."""
    killed_in(monkeypatch, Delivery, "confirm", lambda: fill(rig, model="new"))
    [result] = fill(rig, model="new").embeddings
    assert (result.vectors, result.texts) == (TEXTS, 0)
    assert differences(rig) == 0


def test_an_index_that_still_holds_vectors_of_one_that_is_gone_is_waited_for(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RushDB removes them a while after the index; counted as ours they would stand for some that were lost."""
    count_vectors, begin, still_there = RestWire.count_vectors, Carriers.begin, [3, 1]
    left_at_the_beginning = []

    def counted(self: RestWire, index: Index) -> int:
        return still_there.pop(0) if index.property_name == SECOND and still_there else count_vectors(self, index)

    def begun(self: Carriers, *given: object) -> None:
        left_at_the_beginning.append(list(still_there))
        begin(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(RestWire, "count_vectors", counted)
    monkeypatch.setattr(Carriers, "begin", begun)
    assert fill(rig, model="new").embeddings[0].vectors == TEXTS
    assert left_at_the_beginning == [[]]


def test_searches_are_not_switched_to_vectors_that_are_not_all_there(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would find what happens to be filled, and say nothing of the rest."""
    killed_in(monkeypatch, Delivery, "confirm", lambda: fill(rig, model="new"))
    with pytest.raises(Refused, match="is not filled with the vectors of new yet") as refused:
        switch(rig.config(), surroundings=rig.around())
    assert str(refused.value.next_step).startswith("byov-migrate reembed")
    fill(rig, model="new")
    switch(rig.config(), surroundings=rig.around())


def test_vectors_that_are_not_all_there_are_not_verified(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still to be filled in is no difference: an alarm every night would be believed by nobody."""
    killed_in(monkeypatch, filling, "sync_tables", lambda: fill(rig, model="new"))
    assert [item.complete for item in rig.opened_state().carriers.of("public.job", "description")] == [True, False]
    assert differences(rig) == 0


@pytest.mark.parametrize("dropped", ["description", SECOND])
def test_vectors_that_are_dropped_are_not_kept_on_this_machine_either(unfilled: SyncRig, dropped: str) -> None:
    """They are data of the rows like the vectors in RushDB, and the next model would find them under its property."""
    rig = unfilled
    rig.state = {"vectors": True}
    rig.backfill()
    if dropped == "description":
        move_to(rig, "new", dropped)
    else:
        fill(rig, model="new")
        assert cached(rig) == {"description": TEXTS, SECOND: TEXTS}
        drop(rig.config(), agreed=[SECOND], surroundings=rig.around())
    [kept] = {"description", SECOND} - {dropped}
    assert cached(rig) == {kept: TEXTS}


def test_a_text_that_is_sent_is_not_replaced_by_another_one_for_the_vectors_alone(unfilled: SyncRig) -> None:
    """The record would show the text of the old template beside the vector of the new one."""
    rig = unfilled
    use(rig, "old", send_text=True)
    rig.backfill()
    use(rig, "old", send_text=True, text="{title}\n{body}")
    with pytest.raises(Refused, match="is sent as text too"):
        fill(rig)
    assert [one["propertyName"] for one in rig.call("GET", "/ai/indexes")["data"]] == ["description"]
    use(rig, "new", send_text=True)
    assert fill(rig).embeddings[0].vectors == TEXTS


@pytest.mark.parametrize("text", ["{body}, reworded", "{body} {title}"], ids=["in the same rows", "in more rows"])
def test_a_text_that_is_sent_is_compared_with_that_of_the_live_vectors_alone(rig: SyncRig, text: str) -> None:
    """The candidate reads another text, which no record holds; each was a difference, or each that it alone has."""
    use(rig, "new", text=text)
    fill(rig)
    use(rig, "old", send_text=True)
    backfill(rig.config(), apply=True, surroundings=rig.around())
    assert records(rig)["17"]["description"] == "a text of its own, number 17"
    assert differences(rig) == 0


def test_what_has_changed_before_is_synced_before_anything_is_filled(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filling leaves changed rows alone; their vectors would come hours later, by the last sync."""
    rig.execute(OTHER_TEXTS)
    send, sent = Delivery.send, []

    def noting(self: Delivery, batch: Batch) -> Accepted:
        sent.append((batch.way, len(batch.rows)))
        return send(self, batch)

    monkeypatch.setattr(Delivery, "send", noting)
    fill(rig, model="new")
    assert sent == [("rewrite", 5), ("attach", TEXTS - 5)]


def test_what_changes_while_it_is_filled_is_synced_before_it_ends(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that all is there; a switch right afterwards would find vectors of old texts, and lack new rows."""
    send, changes = Delivery.send, [OTHER_TEXTS, "INSERT INTO job (id, body) VALUES (77, 'new meanwhile')"]

    def changing(self: Delivery, batch: Batch) -> Accepted:
        while batch.way == "attach" and changes:
            rig.execute(changes.pop())
        return send(self, batch)

    monkeypatch.setattr(Delivery, "send", changing)
    [result] = fill(rig, model="new").embeddings
    assert (result.synced, result.vectors) == (6, TEXTS + 1)
    assert differences(rig) == 0
