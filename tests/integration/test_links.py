from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from byov_migrate import backfill, source
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError, Interrupted
from byov_migrate.jobs import linking
from byov_migrate.jobs.repair import repair
from byov_migrate.jobs.show import show
from byov_migrate.jobs.status import status
from byov_migrate.jobs.verify import verify
from byov_migrate.state import open_state
from byov_migrate.state.edge_queries import Edge
from byov_migrate.state.links import Links
from tests.graph_rig import LINKS, GraphRig, graph_rigged


@pytest.fixture
def rig(tmp_path: Path, database: str) -> Iterator[GraphRig]:
    """Everything linked in every way."""
    with graph_rigged(tmp_path, database) as graph:
        yield graph


def verified(rig: GraphRig) -> tuple[int, dict[str, dict[str, str]]]:
    """A verify's exit code, and what differs by label and key."""
    result = verify(rig.config(), surroundings=rig.around())
    found = {
        table.label.removesuffix(rig.suffix): {item.key: item.what for item in table.differences}
        for table in result.tables
        if table.differences
    }
    return result.exit_code, found


def test_every_link_that_sql_implies_stands_and_no_other(rig: GraphRig) -> None:
    """Composite keys, parents, a record that is its own parent, arrays, join tables, equal values."""
    rig.make_tables()
    result = rig.backfill()
    assert rig.differences() == {}
    assert {link.type.removesuffix(rig.suffix): link.stored for link in result.links} == {
        kind: len(rig.implied(kind)) for kind in LINKS
    }
    assert [link.dangling for link in result.links] == [0] * len(LINKS)


def test_a_second_run_changes_nothing(rig: GraphRig) -> None:
    """Neither a backfill nor a sync."""
    rig.make_tables()
    rig.backfill()
    assert [(link.made, link.removed) for link in rig.backfill().links] == [(0, 0)] * len(LINKS)
    assert rig.sync().links == ()
    assert rig.differences() == {}


CHANGES = [
    "UPDATE job SET company_id = company_id % 7 + 1",
    "UPDATE job SET company_id = NULL WHERE id % 2 = 0",
    "UPDATE job SET company_id = 3, department = 'hr' WHERE company_id IS NULL",
    "UPDATE job SET skills = skills || ARRAY['skill 1', 'new'] WHERE id % 3 = 0",
    "UPDATE job SET skills = NULL, city = 'city 4' WHERE id < 20",
    "UPDATE job SET parent = id WHERE id % 2 = 0",
    "UPDATE job_tag SET level = 9; DELETE FROM job_tag WHERE job_id < 30",
    "DELETE FROM job_tag WHERE job_id % 4 = 0",
    "INSERT INTO job_tag SELECT id, md5('tag0')::uuid FROM job WHERE id % 4 = 0",
    "UPDATE tag SET word = 'word 10' WHERE word = 'word 1'",
    "UPDATE job SET office = 'word 2'",
    "INSERT INTO company VALUES (99, 'late'); UPDATE job SET company_id = 99, department = NULL WHERE id < 9",
    "UPDATE job SET city = 'renamed' WHERE city = 'city 2'",
    "UPDATE job SET parent = NULL; DELETE FROM job WHERE id % 4 = 0",
    "UPDATE job SET id = id + 1000 WHERE id > 50 AND id % 2 = 1",
]


@pytest.mark.parametrize("unique", [False, True], ids=["records replaced", "records appended to"])
def test_a_sync_leaves_no_link_out_of_date(rig: GraphRig, *, unique: bool) -> None:
    """Foreign keys, arrays, parents, pairs and values that change, come and go, one after the other."""
    rig.make_tables()
    rig.backfill()
    if unique:
        rig.make_keys_unique()
    for change in CHANGES:
        rig.execute(change)
        rig.sync(full="DELETE" in change or "id = id" in change, confirm_deletes=True)
        assert (change, rig.differences()) == (change, {})
        cities = {record["name"] for record in rig.records("city").values()}
        assert cities == {key for _, key in rig.implied("PLACED")}
    assert verified(rig) == (0, {})


def test_links_of_a_join_table_have_its_columns(rig: GraphRig) -> None:
    """As properties, also after they changed."""
    rig.make_tables()
    rig.backfill()
    levels = {properties.get("level") for _, _, properties in rig.links("TAGGED")}
    assert levels == {None, 2}
    rig.execute("UPDATE job_tag SET level = 5 WHERE level = 2")
    rig.sync()
    assert {properties.get("level") for _, _, properties in rig.links("TAGGED")} == {None, 5}


@pytest.mark.parametrize(("kept", "hubs"), [("", 10), ("WHERE job_id NOT IN (2, 4)", 2)])
def test_pairs_are_linked_at_the_end_that_has_fewer_records(rig: GraphRig, kept: str, hubs: int) -> None:
    """Thirty jobs of ten tags are ten requests, each with its proof; two jobs of five tags are two."""
    rig.make_tables()
    rig.properties, rig.links_wanted = (), ["TAGGED"]
    if kept:
        rig.execute(f"DELETE FROM job_tag {kept}")
    [link] = rig.backfill().links
    assert (link.requests, link.made) == (2 * hubs, len(rig.implied("TAGGED")))
    assert (verified(rig), rig.differences()) == ((0, {}), {})
    assert rig.sync().links == ()


def test_a_record_of_many_links_is_linked_in_portions_and_what_is_done_is_known(
    rig: GraphRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop between two of them is heard, and the next run makes the rest alone."""
    monkeypatch.setattr(linking, "IDS", 2)
    monkeypatch.setattr(linking, "EDGES_AT_ONCE", 3)
    rig.make_tables()
    rig.execute("DELETE FROM job_tag WHERE job_id NOT IN (2, 4)")
    rig.properties, rig.links_wanted = (), ["TAGGED"]
    stop = threading.Event()
    mark = Links.mark_edges

    def mark_and_stop(self: Links, name: str, edges: Sequence[Edge]) -> None:
        mark(self, name, edges)
        stop.set()

    monkeypatch.setattr(Links, "mark_edges", mark_and_stop)
    with pytest.raises(Interrupted):
        backfill(rig.config(), surroundings=rig.around(stop=stop))
    assert len(rig.links("TAGGED")) == 2
    monkeypatch.setattr(Links, "mark_edges", mark)
    [link] = rig.backfill().links
    assert (link.made, link.requests) == (4, 6)
    assert rig.differences() == {}


@pytest.mark.parametrize("properties", [(), ("level",)])
def test_records_that_lead_to_each_other_keep_both_links(rig: GraphRig, properties: tuple[str, ...]) -> None:
    """Attaching one would remove the other. Also after a sync made the second, and when a level is gone."""
    rig.make_tables(jobs=12)
    rig.execute("CREATE TABLE job_near (one bigint REFERENCES job, other bigint REFERENCES job, level int)")
    rig.execute("INSERT INTO job_near VALUES (1, 2, 1), (2, 1, 2), (1, 3, 3), (3, 1, NULL), (4, 5, 5), (6, 6, 6)")
    label, kind = rig.label("job"), "NEAR" + rig.suffix
    near = {"type": kind, "source": label, "target": label, "through": "public.job_near"}
    ends = {"source_columns": ["one"], "target_columns": ["other"]}
    rig.overlay = {"links": [{**near, **ends, "properties": list(properties)}]}

    def stored() -> dict[tuple[str, str], Any]:
        keys = {record_id: record["byovKey"] for record_id, record in rig.records("job").items()}
        return {(keys[a], keys[b]): found.get("level") for a, b, found in rig.links("NEAR")}

    def implied() -> dict[tuple[str, str], Any]:
        with psycopg.connect(rig.dsn) as connection:
            rows = connection.execute("SELECT one::text, other::text, level FROM job_near").fetchall()
        return {(one, other): level if properties else None for one, other, level in rows}

    rig.backfill()
    assert stored() == implied()
    rig.execute("INSERT INTO job_near VALUES (5, 4, 7); UPDATE job_near SET level = NULL WHERE one = 2")
    rig.execute("DELETE FROM job_near WHERE one = 3")
    rig.sync()
    assert stored() == implied()
    assert verified(rig) == (0, {})


def test_values_that_no_row_has_any_more_are_kept_when_that_is_wanted(rig: GraphRig) -> None:
    """And no links lead to them."""
    rig.unused = "keep"
    rig.make_tables()
    rig.backfill()
    rig.execute("UPDATE job SET city = 'elsewhere'")
    rig.sync(full=True)
    assert {record["name"] for record in rig.records("city").values()} == {
        *(f"city {n}" for n in range(5)),
        "elsewhere",
    }
    assert rig.differences() == {}


@pytest.mark.parametrize("most_batches", [100, 0], ids=["by batches", "by targets"])
def test_what_leads_nowhere_is_counted_and_linked_when_its_end_comes(
    rig: GraphRig, monkeypatch: pytest.MonkeyPatch, most_batches: int
) -> None:
    """The rows that lead to it have not changed; where they stand in many batches, the few targets are named."""
    monkeypatch.setattr(linking, "BATCHES_AT_ONCE", most_batches)
    rig.make_tables()
    rig.execute("ALTER TABLE job DROP CONSTRAINT job_department, DROP CONSTRAINT job_company")
    rig.execute("ALTER TABLE job ADD CONSTRAINT job_company FOREIGN KEY (company_id) REFERENCES company NOT VALID")
    rig.links_wanted = ["AT"]
    rig.execute("ALTER TABLE job DISABLE TRIGGER ALL; UPDATE job SET company_id = 77 WHERE id < 10")
    [link] = rig.backfill().links
    assert (link.dangling, link.stored) == (9, len(rig.implied("AT")) - 9)
    [told] = status(rig.config(), dangling=True, surroundings=rig.around()).links
    assert (told.dangling, told.loose) == (9, 0)
    assert set(told.nowhere) == {(str(n), "77") for n in range(1, 10)}
    rig.execute("INSERT INTO company VALUES (77, 'late')")
    [link] = rig.sync().links
    assert (link.dangling, link.made, link.requests) == (0, 9, 2)
    assert rig.differences() == {}


def damaged(rig: GraphRig, kind: str, *, missing: bool) -> str:
    """Take one link away, or add one, behind the migration's back; the key of the record that it leads from."""
    source, target, _ = LINKS[kind]
    links = rig.links(kind)
    records = rig.records(source)
    standing = {(a, b) for a, b, _ in links}
    if missing:
        a, b, _ = links[0]
        rig.put(f"/relationships/{a}", {"targetIds": [b], "typeOrTypes": kind + rig.suffix, "direction": "out"})
    else:
        a, b = next((a, b) for a in records for b in rig.records(target) if (a, b) not in standing and a != b)
        rig.post(f"/relationships/{a}", {"targetIds": [b], "type": kind + rig.suffix, "direction": "out"})
    return str(records[a]["byovKey"])


def test_verify_names_links_that_are_missing_or_too_many_and_repair_mends_them(rig: GraphRig) -> None:
    """One at a time, of every link; what only the next sync would bring is behind."""
    rig.make_tables()
    rig.backfill()
    assert verified(rig) == (0, {})
    for kind in LINKS:
        for missing in (True, False):
            key = damaged(rig, kind, missing=missing)
            code, found = verified(rig)
            source = rig.label(LINKS[kind][0]).removesuffix(rig.suffix)
            assert (code, list(found), list(found[source])) == (5, [source], [key])
            assert ("missing" if missing else "too many") in found[source][key]
            repair(rig.config(), surroundings=rig.around())
            assert (kind, missing, rig.differences()) == (kind, missing, {})
            assert verified(rig) == (0, {})


def test_a_link_key_that_somebody_changed_is_found_and_put_right(rig: GraphRig) -> None:
    """The next join would link by it."""
    rig.make_tables()
    rig.backfill()
    record_id, record = next(
        (n, r) for n, r in rig.records("department").items() if r["byovRef_OF" + rig.suffix] == "3"
    )
    held = {name: value for name, value in record.items() if not name.startswith("__")}
    rig.put(
        f"/records/{record_id}", {"label": rig.label("department"), "data": {**held, "byovRef_OF" + rig.suffix: "4"}}
    )
    code, found = verified(rig)
    assert (code, list(found.values())) == (5, [{record["byovKey"]: f"byovRef_OF{rig.suffix} differs"}])
    repair(rig.config(), surroundings=rig.around())
    assert (verified(rig), rig.differences()) == ((0, {}), {})


def test_links_that_the_next_sync_brings_are_behind(rig: GraphRig) -> None:
    """By foreign key and by join table."""
    rig.make_tables()
    rig.backfill()
    rig.execute("UPDATE job SET company_id = company_id % 7 + 1; DELETE FROM job_tag WHERE job_id < 20")
    assert verified(rig) == (0, {})
    rig.sync()
    assert (verified(rig), rig.differences()) == ((0, {}), {})


def test_show_tells_where_a_record_leads_and_what_leads_to_it(rig: GraphRig) -> None:
    """By the keys of the other ends."""
    rig.make_tables()
    rig.backfill()
    links = show(rig.config(), "3", table="company", surroundings=rig.around()).links
    at, of = (f"{kind}{rig.suffix} from {rig.label(name)}" for kind, name in (("AT", "job"), ("OF", "department")))
    leading = {source for source, target in rig.implied("AT") if target == "3"}
    assert (set(links[at]), len(links[of])) == (leading, 4)
    [(source, target)] = [pair for pair in rig.implied("AT") if pair[0] == "8"]
    assert show(rig.config(), source, surroundings=rig.around()).links[f"AT{rig.suffix} to {rig.label('company')}"] == (
        target,
    )


def test_a_run_that_was_killed_while_links_were_made_is_waited_for(rig: GraphRig) -> None:
    """Also when no row has changed: a late request of it would make a link again that this run removes."""
    rig.make_tables()
    rig.backfill()
    with contextlib.closing(open_state(rig.config().state_path, time.time, create=False)) as state:
        state.links.begin_calls()
    rig.execute("DELETE FROM job_tag WHERE job_id < 30")
    rig.events.clear()
    rig.sync()
    waits = [fields["reason"] for action, fields in rig.events if action == "wait"]
    assert waits == ["links of an earlier run may still be made at the target"]
    assert rig.differences() == {}


def test_two_rows_for_one_pair_are_one_link_always_the_same(rig: GraphRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever row was read last would have it otherwise, and verify would not agree."""
    monkeypatch.setattr(linking, "PAIRS_AT_ONCE", 20)
    rig.make_tables()
    rig.execute("ALTER TABLE job_tag DROP CONSTRAINT job_tag_pkey")
    rig.execute("INSERT INTO job_tag SELECT job_id, tag_id, n FROM job_tag, generate_series(5, 9) AS n")
    rig.links_wanted = ["TAGGED"]
    rig.backfill()
    assert (verified(rig), rig.differences()) == ((0, {}), {})
    assert rig.backfill().links[0].made == 0


def test_columns_that_cannot_be_compared_are_told_before_a_row_is_written(rig: GraphRig) -> None:
    """Not after hours of moving."""
    rig.make_tables()
    rig.execute("ALTER TABLE job ALTER office TYPE int USING length(office)")
    with pytest.raises(ConfigurationError, match=r"links\[7\]: the columns office, word cannot be compared"):
        rig.backfill()
    assert rig.records("company") == {}


def test_arrays_of_arrays_lead_to_each_element(rig: GraphRig) -> None:
    """As their nodes are made."""
    rig.make_tables()
    rig.execute("UPDATE job SET skills = ARRAY[['a', 'b'], ['c', 'a']] WHERE id < 9")
    rig.backfill()
    assert rig.differences() == {}
    assert {("3", "a"), ("3", "b"), ("3", "c")} <= rig.implied("WANTS")


def test_links_of_rows_whose_keys_leave_as_hashes_are_proved(rig: GraphRig) -> None:
    """A hash cannot be looked up, so a second look reads all rows."""
    rig.hashed = True
    rig.make_tables()
    rig.backfill()
    assert verified(rig) == (0, {})
    key = damaged(rig, "AT", missing=True)
    code, found = verified(rig)
    assert (code, {label: list(keys) for label, keys in found.items()}) == (5, {"Job": [key]})
    assert "AT" in found["Job"][key]
    assert "missing" in found["Job"][key]
    assert "byovRef" not in found["Job"][key]


def test_the_pairs_and_their_sum_are_of_one_snapshot(rig: GraphRig) -> None:
    """A pair that comes in between would be in the sum and not among the pairs, for ever."""
    rig.make_tables()
    config = rig.config()
    with source.connect(config.source, rig.around().environment) as session:
        link = next(item for item in source.describe_links(session, config) if item.type == "TAGGED" + rig.suffix)
        assert isinstance(link.way, source.Paired)
        reader = source.PairReader(session, link, link.way, Digests(b"k" * 32))
        with reader.reading() as (summed, pairs):
            rig.execute("INSERT INTO job_tag SELECT 1, id FROM tag")
            assert len(list(pairs)) == summed.pairs
        assert reader.sum().pairs == summed.pairs + 10


@pytest.mark.parametrize("name", ["company", "job", "city"])
def test_a_record_that_was_deleted_in_rushdb_comes_back_with_its_links(rig: GraphRig, name: str) -> None:
    """Those that lead to it, too, though their rows have not changed."""
    rig.make_tables()
    rig.backfill()
    record_id, record = next(iter(rig.records(name).items()))
    rig.post("/records/delete", {"labels": [rig.label(name)], "where": {"$id": {"$in": [record_id]}}})
    code, found = verified(rig)
    assert (code, "missing" in str(found) or record["byovKey"] in found[name.capitalize()]) == (5, True)
    repair(rig.config(), surroundings=rig.around())
    assert (verified(rig), rig.differences()) == ((0, {}), {})


def test_verify_tells_a_links_property_that_somebody_changed_and_repair_puts_it_right(rig: GraphRig) -> None:
    """A link that stands is not yet the right one."""
    rig.make_tables()
    rig.backfill()
    source_id, target_id, _ = next(link for link in rig.links("TAGGED") if link[2].get("level") == 2)
    body = {"targetIds": [target_id], "type": "TAGGED" + rig.suffix, "direction": "out", "properties": {"level": 7}}
    rig.post(f"/relationships/{source_id}", body)
    code, found = verified(rig)
    key = rig.records("job")[source_id]["byovKey"]
    assert (code, found) == (5, {"Job": {key: f"TAGGED{rig.suffix} has other properties"}})
    repair(rig.config(), surroundings=rig.around())
    assert verified(rig) == (0, {})


def test_values_that_a_collation_calls_equal_are_nodes_of_their_own(tmp_path: Path, any_database: str) -> None:
    """A row's own value always finds its record, whatever PostgreSQL thinks of upper and lower case."""
    with graph_rigged(tmp_path, any_database) as rig:
        _move_values_that_a_collation_calls_equal(rig)


def _move_values_that_a_collation_calls_equal(rig: GraphRig) -> None:
    rig.make_tables()
    try:
        rig.execute("CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU")
    rig.execute("ALTER TABLE job ALTER city TYPE text COLLATE no_case")
    rig.execute("UPDATE job SET city = upper(city) WHERE id % 2 = 0")
    rig.backfill()
    assert {"CITY 1", "city 1"} <= {record["name"] for record in rig.records("city").values()}
    assert (verified(rig), rig.differences()) == ((0, {}), {})
