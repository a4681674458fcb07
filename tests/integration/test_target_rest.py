"""The REST wire against the sandbox over a real socket: what goes in comes out, and nothing else is touched."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from byov_migrate import sandbox
from byov_migrate.config import TargetConfig
from byov_migrate.digests import SCORE_TOLERANCE, Digests, probe_scores
from byov_migrate.errors import Ambiguous, CredentialsRefused, MigrationError, RowRefused
from byov_migrate.records import Outgoing
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Index, Outbound

DIMENSION = 16
VALUES: dict[str, Outgoing] = {
    "text": 'Grüße, "quoted", back\\slash, new\nline, \U0001f600',
    "empty": "",
    "like_number": "007",
    "like_boolean": "true",
    "instant": "2026-01-31T10:00:00.123456+00:00",
    "whole": 9007199254740991,
    "negative": -5,
    "fraction": 0.1,
    "tiny": 5e-324,
    "yes": True,
    "no": False,
    "texts": ["a", ""],
    "numbers": [1.5, -2],
    "nothing": [],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sandbox for the whole file."""
    data: Path = tmp_path_factory.mktemp("sandbox")
    with sandbox.running(data, "write-key", read_key="read-key", other_key="other-key") as running:
        yield running.url


def wire_with(url: str, key: str) -> RestWire:
    """A wire with this key."""
    config = TargetConfig.model_validate({"url": url, "api_key": {"env": "KEY"}})
    return RestWire(HttpClient(config, lambda: key, timeout_s=10))


@pytest.fixture(scope="module")
def wire(url: str) -> Iterator[RestWire]:
    """A wire that may write."""
    with contextlib.closing(wire_with(url, "write-key")) as opened:
        yield opened


@pytest.fixture
def label(request: pytest.FixtureRequest) -> str:
    """A label that only this test uses."""
    return "".join(character for character in request.node.name.title() if character.isalpha())


def rows(keys: list[str], **properties: Outgoing) -> list[Outbound]:
    """Records of these keys."""
    return [Outbound(key, {"byovKey": key, "p": "", **properties}) for key in keys]


def vector_of(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A vector that no other number has."""
    return np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)


def index_of(wire: RestWire, label: str) -> Index:
    """An index on `p` of a label."""
    return wire.create_index(label, "p", DIMENSION, "cosine")


def test_every_kind_of_value_comes_back_as_it_was_sent(wire: RestWire, label: str) -> None:
    """Without `suggestTypes` every number would become text, silently."""
    wire.create(label, [Outbound("1", {"byovKey": "1", **VALUES})])
    [stored], total = wire.find(label, {"byovKey": "1"}, limit=10)
    assert total == 1
    assert stored.key == "1"
    assert {name: stored.properties[name] for name in VALUES} == VALUES
    assert all(type(stored.properties[name]) is type(value) for name, value in VALUES.items())
    assert {name: wire.canonical(value) for name, value in VALUES.items()} == VALUES
    assert not any(name.startswith("__") for name in stored.properties)


def test_ids_are_named_by_key(wire: RestWire, label: str) -> None:
    """The answer's order is not relied upon."""
    made = wire.create(label, rows(["b", "a", "c"]))
    found, _ = wire.find(label, {}, limit=10)
    assert made == {record.key: record.record_id for record in found}


def test_pages_are_complete_and_exact(wire: RestWire, label: str) -> None:
    """`total` counts all matches, whatever the page."""
    keys = [f"{number:03}" for number in range(25)]
    wire.create(label, rows(keys))
    seen = []
    for skip in (0, 10, 20, 30):
        page, total = wire.find(label, EVERY_RECORD, limit=10, skip=skip)
        assert total == 25
        seen += [record.key for record in page]
    assert sorted(seen) == keys


def test_batches_are_counted_over_the_whole_label(wire: RestWire, label: str) -> None:
    """More records than a page holds; a batch without a record has no count."""
    wire.create(label, rows([f"a{n}" for n in range(900)], byovBatch="a"))
    wire.create(label, rows([f"b{n}" for n in range(600)], byovBatch="b"))
    wire.create(label, rows(["c"], byovBatch="c"))
    assert wire.count_by(label, "byovBatch", ["a", "b", "lost"]) == {"a": 900, "b": 600}


@pytest.mark.parametrize("inline", [True, False])
def test_a_vector_is_stored_exactly_whichever_way_it_came(wire: RestWire, label: str, *, inline: bool) -> None:
    """To the last bit of float32: scores are compared at 2e-7."""
    index = index_of(wire, label)
    vectors = {str(number): vector_of(number) for number in range(5)}
    if inline:
        wire.create(label, [Outbound(key, {"byovKey": key, "p": ""}, {"p": vector}) for key, vector in vectors.items()])
    else:
        ids = wire.create(label, rows(list(vectors)))
        wire.attach(index, {ids[key]: vector for key, vector in vectors.items()})
    assert wire.count_vectors(index) == 5
    probes = Digests(b"k" * 32).probes(DIMENSION)
    found = wire.search(index, probes[0], where=EVERY_RECORD, limit=10)
    scores = {record.key: record.score for record in found}
    expected = dict(zip(vectors, probe_scores(np.stack(list(vectors.values())), probes), strict=True))
    assert scores.keys() == expected.keys()
    for key, score in scores.items():
        assert score is not None
        assert math.isclose(score, expected[key][0], abs_tol=SCORE_TOLERANCE)
    assert [record.score for record in found] == sorted((record.score for record in found), reverse=True)  # type: ignore[type-var]


def test_vectors_of_unknown_records_are_refused_and_nothing_is_written(wire: RestWire, label: str) -> None:
    """It is what proves that a create was committed."""
    index = index_of(wire, label)
    ids = wire.create(label, rows(["1"]))
    unknown = "01900000-0000-7000-8000-000000000000"
    with pytest.raises(RowRefused):
        wire.attach(index, {ids["1"]: vector_of(1), unknown: vector_of(2)})
    assert wire.count_vectors(index) == 0


def test_a_replaced_record_keeps_its_id_and_loses_what_is_absent(wire: RestWire, label: str) -> None:
    """Its vector goes too: it must be sent again."""
    index = index_of(wire, label)
    ids = wire.create(label, rows(["1"], old="x"))
    wire.attach(index, {ids["1"]: vector_of(1)})
    assert wire.replace(label, ids["1"], {"byovKey": "1", "p": "", "new": 5})
    [stored], _ = wire.find(label, {"byovKey": "1"}, limit=1)
    assert (stored.record_id, stored.properties) == (ids["1"], {"byovKey": "1", "p": "", "new": 5})
    assert wire.count_vectors(index) == 0


def test_replacing_a_record_that_is_not_there_says_so_and_makes_none(wire: RestWire, label: str) -> None:
    """An error would end the run for a record that somebody has deleted."""
    assert not wire.replace(label, "01900000-0000-7000-8000-000000000000", {"byovKey": "1"})
    assert wire.find(label, {}, limit=1)[1] == 0


def test_replacing_with_a_property_that_the_answer_trips_over_is_no_failure(wire: RestWire, label: str) -> None:
    """A property `data` that an application added stands in the answer where the record should be."""
    ids = wire.create(label, rows(["1"]))
    assert wire.replace(label, ids["1"], {"byovKey": "1", "data": "theirs", "total": 7})


@pytest.mark.parametrize("clear", [False, True])
def test_merging_writes_over_records_by_key_and_creates_missing_ones(
    wire: RestWire, label: str, *, clear: bool
) -> None:
    """Ids stay; only with `clear` does what is not sent disappear, and the vectors with it."""
    index = index_of(wire, label)
    ids = wire.create(label, rows(["1", "2"], old="x"))
    wire.attach(index, {record_id: vector_of(1) for record_id in ids.values()})
    written = wire.merge(label, rows(["1", "3"], **VALUES), clear=clear)
    assert (written["1"], set(written)) == (ids["1"], {"1", "3"})
    stored = {record.key: record.properties for record in wire.find(label, {}, limit=10)[0]}
    assert {key: "old" in properties for key, properties in stored.items()} == {"1": not clear, "2": True, "3": False}
    assert {name: stored["1"][name] for name in VALUES} == VALUES
    assert wire.count_vectors(index) == (1 if clear else 2)


def test_a_key_that_is_two_records_is_not_settled_by_one_answer(wire: RestWire, label: str) -> None:
    """Both were written over; taking either id would leave the other for ever."""
    for _ in range(2):
        wire.create(label, rows(["1"]))
    with pytest.raises(Ambiguous):
        wire.merge(label, rows(["1"]), clear=False)


def test_deleting_goes_by_id_and_in_portions(wire: RestWire, label: str) -> None:
    """A request for more than 1,000 takes longer than the server allows."""
    kept = wire.create(label, rows(["kept"]))
    gone = [
        record_id
        for part in range(3)
        for record_id in wire.create(label, rows([f"{part}-{n}" for n in range(500)])).values()
    ]
    before = wire.requests_sent
    wire.delete(label, gone)
    assert wire.requests_sent - before == 2
    found, total = wire.find(label, {}, limit=10)
    assert (total, found[0].record_id) == (1, kept["kept"])


def test_deleting_nothing_sends_nothing(wire: RestWire, label: str) -> None:
    """A request without ids would empty the project."""
    wire.create(label, rows(["1"]))
    before = wire.requests_sent
    wire.delete(label, [])
    assert wire.requests_sent == before
    assert wire.find(label, {}, limit=1)[1] == 1


def test_deleting_leaves_other_labels_alone_even_by_their_ids(wire: RestWire, label: str) -> None:
    """Label and ids must both fit."""
    ids = wire.create(label, rows(["1"]))
    wire.delete(f"{label}Other", list(ids.values()))
    assert wire.find(label, {}, limit=1)[1] == 1


def test_an_index_is_described_as_it_is(wire: RestWire, label: str) -> None:
    """The project in its row is the target's identity."""
    index = index_of(wire, label)
    assert index in wire.indexes()
    assert index_of(wire, label) == index
    assert len({known.project for known in wire.indexes()}) == 1
    assert index.project


def test_another_project_is_another_project(url: str, wire: RestWire, label: str) -> None:
    """A key of somebody else sees nothing of ours."""
    ours = index_of(wire, label)
    wire.create(label, rows(["1"]))
    with contextlib.closing(wire_with(url, "other-key")) as other:
        assert other.find(label, {}, limit=1)[1] == 0
        theirs = index_of(other, label)
        assert theirs.project != ours.project
        assert ours not in other.indexes()


def test_the_server_says_what_it_is(url: str, wire: RestWire) -> None:
    """And what the key may do."""
    assert (wire.server().kind, wire.server().key_level, wire.server().request_budget_s) == ("sandbox", "write", 1)
    with contextlib.closing(wire_with(url, "read-key")) as reader:
        assert reader.server().key_level == "read"
        with pytest.raises(MigrationError):
            reader.create("Any", rows(["1"]))
    with contextlib.closing(wire_with(url, "wrong-key")) as wrong, pytest.raises(CredentialsRefused):
        wrong.server()


def test_the_address_may_end_as_people_copy_it(url: str) -> None:
    """With the path of the API, or a slash."""
    for ending in ("/", "/api", "/api/v1", "/api/v1/"):
        with contextlib.closing(wire_with(url + ending, "write-key")) as opened:
            assert opened.server().kind == "sandbox"
