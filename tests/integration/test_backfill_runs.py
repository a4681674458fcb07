"""Whole backfills, PostgreSQL to sandbox: limits, ranges, ceilings, and what is refused before the first write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from byov_migrate import backfill, sandbox, status
from byov_migrate.config import Config, TargetConfig, parse_config
from byov_migrate.errors import (
    Busy,
    ConfigurationError,
    ConsentNeeded,
    CredentialsRefused,
    DifferencesFound,
    Interrupted,
    MigrationError,
    Refused,
)
from byov_migrate.jobs import backfill as backfill_module
from byov_migrate.jobs import ranges
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.state.lock import run_lock
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Outbound

ROWS = 95
KEY = "key-of-a-test"


@dataclass
class Rig:
    """A table, a sandbox, and a configuration that joins them."""

    folder: Path
    dsn: str
    url: str
    table: dict[str, Any] = field(default_factory=dict)
    state: str = "jobs.state.db"
    key: str = KEY
    told: list[Progress] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def config(self) -> Config:
        """One table with ready vectors, unless changed."""
        plain = {
            "name": "public.job",
            "label": "Job",
            "columns": ["id", "title", "pay"],
            "embeddings": [{"property": "description", "vector": "embedding"}],
        }
        content = {
            "source": {"dsn": {"env": "DSN"}},
            "target": {"url": self.url, "api_key": {"env": "KEY"}, "give_up_after": "5s"},
            "state": {"url": f"sqlite:///{self.state}"},
            "tables": [{**plain, **self.table}],
        }
        return parse_config(content, {}, base=self.folder, stem="jobs")

    def around(self) -> Surroundings:
        """Surroundings with the two secrets."""
        return Surroundings(environment={"DSN": self.dsn, "KEY": self.key}, progress=self.told.append)

    def run(self, **options: Any) -> backfill_module.TableResult:
        """Backfill, and the table's result."""
        surroundings = options.pop("surroundings", None) or self.around()
        [result] = backfill(self.config(), surroundings=surroundings, **options).tables
        return result

    def wire(self) -> RestWire:
        """An honest client."""
        config = TargetConfig.model_validate({"url": self.url, "api_key": {"env": "KEY"}})
        return RestWire(HttpClient(config, lambda: KEY, timeout_s=10))

    def stored(self) -> list[int]:
        """Numbers of the rows in the target, sorted; a doubled one shows twice."""
        with contextlib.closing(self.wire()) as wire:
            found, _ = wire.find("Job", EVERY_RECORD, limit=1000)
        return sorted(int(record.properties["id"]) for record in found)

    def execute(self, statement: str) -> None:
        """Change the source."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture
def rig(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """95 rows in ranges of 30 and pages of 20."""
    monkeypatch.setattr(backfill_module, "RANGE_ROWS", 30)
    monkeypatch.setattr(ranges, "PAGE_ROWS_READY", 20)
    with sandbox.running(tmp_path / "sandbox", KEY, read_key="read-key") as target:
        made = Rig(tmp_path, database, target.url)
        made.execute("CREATE TABLE job (id int PRIMARY KEY, title text, pay float8, embedding real[])")
        made.execute(
            f"INSERT INTO job SELECT n, 'posting ' || n, n * 1.5, ARRAY[sin(n), cos(n), n, 1]::real[]"
            f" FROM generate_series(1, {ROWS}) AS n"
        )
        yield made


def test_a_backfill_brings_every_row_once(rig: Rig) -> None:
    """And says what it did; a second one has nothing to do."""
    first = rig.run()
    assert rig.stored() == list(range(1, ROWS + 1))
    assert (first.rows_planned, first.rows_stored, first.vectors_stored) == (ROWS, ROWS, ROWS)
    assert (first.this_run.rows, first.rejects, first.complete) == (ROWS, 0, True)
    assert list(first.vectors.values()) == [ROWS]
    second = rig.run()
    assert (second.this_run.rows, second.rows_stored, second.complete) == (0, ROWS, True)
    assert rig.stored() == list(range(1, ROWS + 1))
    assert rig.told[-1].confirmed == ROWS


@pytest.mark.parametrize("limit", [1, 20, 21, 30, 94, 95, 1000])
def test_a_limit_is_the_number_of_rows_that_are_stored_then(rig: Rig, limit: int) -> None:
    """Borders of pages and of ranges; the first rows of the plan, and the rest later."""
    wanted = min(limit, ROWS)
    first = rig.run(limit=limit)
    assert rig.stored() == list(range(1, wanted + 1))
    assert first.rows_stored == first.this_run.rows == wanted
    assert first.complete or limit <= ROWS
    again = rig.run(limit=limit)
    assert again.this_run.rows == 0
    rest = rig.run()
    assert rest.this_run.rows == ROWS - wanted
    assert rig.stored() == list(range(1, ROWS + 1))


def test_a_limit_grows_with_each_run(rig: Rig) -> None:
    """10, 25, everything: each time only what is missing."""
    assert [rig.run(limit=limit).this_run.rows for limit in (10, 25, 50, 95)] == [10, 15, 25, 45]
    assert rig.stored() == list(range(1, ROWS + 1))


def test_a_limit_that_reaches_the_end_is_a_complete_backfill(rig: Rig) -> None:
    """All ranges are done; the label is counted as after any other."""
    assert rig.run(limit=ROWS + 1).complete


def test_rows_that_are_added_at_the_end_are_read_by_the_last_range(rig: Rig) -> None:
    """It has no upper bound; what comes before the position is the sync's business."""
    rig.run()
    rig.execute("INSERT INTO job SELECT n, 'late', 1, ARRAY[1, 0, 0, 0]::real[] FROM generate_series(200, 204) AS n")
    assert rig.run().this_run.rows == 5
    assert rig.stored()[-5:] == list(range(200, 205))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_with_hardly_anything_in_it(rig: Rig, rows: int) -> None:
    """One open range; nothing to search, nothing to count."""
    rig.execute(f"DELETE FROM job WHERE id > {rows}")
    rig.table = {"embeddings": []}
    result = rig.run()
    assert (result.rows_stored, result.complete) == (rows, True)
    assert rig.stored() == list(range(1, rows + 1))


def test_rows_without_a_vector_are_stored_without_one(rig: Rig) -> None:
    """Counted as `no_text`, and not a reject."""
    rig.execute("UPDATE job SET embedding = NULL WHERE id % 10 = 0")
    result = rig.run()
    assert (result.rows_stored, result.vectors_stored, result.this_run.no_text) == (ROWS, ROWS - 9, 9)


def test_a_poison_row_costs_one_row_and_ends_3_once(rig: Rig) -> None:
    """NaN is no JSON, a zero vector would break every search that meets it."""
    rig.execute("UPDATE job SET pay = 'NaN' WHERE id = 7; UPDATE job SET embedding = ARRAY[0,0,0,0] WHERE id = 50")
    with_rejects = backfill(rig.config(), surroundings=rig.around())
    assert with_rejects.exit_code == 3
    assert with_rejects.tables[0].rejects == 2
    assert rig.stored() == [number for number in range(1, ROWS + 1) if number not in (7, 50)]
    assert backfill(rig.config(), surroundings=rig.around()).exit_code == 0


def test_too_many_rejects_end_6_and_a_raised_ceiling_goes_on(rig: Rig) -> None:
    """A setting is wrong; nothing of the good rows is lost."""
    rig.execute("UPDATE job SET pay = 'NaN' WHERE id % 2 = 0")
    rig.table = {"reject_ceiling": 5}
    with pytest.raises(ConsentNeeded) as caught:
        rig.run()
    assert caught.value.next_step == "byov-migrate rejects list"
    rig.table = {"reject_ceiling": 100}
    rig.run()
    assert rig.stored() == list(range(1, ROWS + 1, 2))


def test_a_stop_before_the_end_is_gone_on_with(rig: Rig) -> None:
    """At the first thing that it tells."""
    around = rig.around()

    def stop(_action: str, **_fields: object) -> None:
        around.stop.set()

    stopping = Surroundings(environment=around.environment, log=stop, stop=around.stop)
    with pytest.raises(Interrupted):
        rig.run(surroundings=stopping)
    rig.run()
    assert rig.stored() == list(range(1, ROWS + 1))


def test_another_run_at_work_ends_busy_and_touches_nothing(rig: Rig) -> None:
    """Cron started a second one."""
    with run_lock(rig.folder / "jobs.state.db", command="sync", now=0.0), pytest.raises(Busy):
        rig.run()
    assert not (rig.folder / "jobs.state.db").exists()
    assert not (rig.folder / "jobs.hash-key").exists()


@pytest.mark.parametrize("key", ["wrong", "read-key"])
def test_a_key_that_may_not_write_is_refused_at_once(rig: Rig, key: str) -> None:
    """77, without waiting and without a state."""
    rig.key = key
    with pytest.raises(CredentialsRefused):
        rig.run()
    assert not (rig.folder / "jobs.state.db").exists()
    assert rig.stored() == []


def test_a_second_state_is_refused_before_anything_is_written(rig: Rig) -> None:
    """A lost or second state must never double a label."""
    rig.run()
    rig.state = "other.state.db"
    with pytest.raises(Refused, match="another state"):
        rig.run()
    assert rig.stored() == list(range(1, ROWS + 1))


def test_a_hash_key_that_is_gone_is_not_replaced(rig: Rig) -> None:
    """The state depends on it."""
    rig.run(limit=10)
    (rig.folder / "jobs.hash-key").unlink()
    with pytest.raises(Refused, match="backup"):
        rig.run()


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"columns": ["id", "title"]}, "columns"),
        ({"rename": {"title": "name"}}, "rename"),
        ({"where": ["id > 5"]}, "where"),
        ({"label": "Posting"}, "label"),
        ({"embeddings": [{"property": "other", "vector": "embedding"}]}, "embeddings"),
        ({"hash_key_values": True, "columns": ["title", "pay"]}, "hash_key_values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_setting_is_refused_by_name_and_writes_nothing(rig: Rig, table: dict[str, Any], word: str) -> None:
    """Half of a label with the old meaning and half with the new one is worse than either."""
    rig.run(limit=30)
    rig.table = table
    with pytest.raises(Refused) as caught:
        rig.run()
    assert word in str(caught.value)
    with contextlib.closing(rig.wire()) as wire:
        assert wire.find("Job", EVERY_RECORD, limit=1)[1] == 30
        assert wire.find("Posting", {}, limit=1)[1] == 0
        assert [index.property_name for index in wire.indexes()] == ["description"]


@pytest.mark.parametrize(
    "table",
    [{"name": "public.jobs"}, {"columns": ["id", "titel"]}, {"embeddings": [{"property": "d", "vector": "embeding"}]}],
    ids=["table", "column", "vector"],
)
def test_what_is_not_in_the_catalog_is_a_configuration_error(rig: Rig, table: dict[str, Any]) -> None:
    """With the nearest name, before anything is written."""
    rig.table = table
    with pytest.raises(ConfigurationError, match="did you mean"):
        rig.run()
    with contextlib.closing(rig.wire()) as wire:
        assert wire.indexes() == []
        assert wire.find("ByovMigration", {}, limit=1)[1] == 0


def test_a_record_that_disappears_behind_our_back_is_a_difference(rig: Rig) -> None:
    """The label is counted at the end."""
    rig.run(limit=50)
    with contextlib.closing(rig.wire()) as wire:
        [victim], _ = wire.find("Job", {"id": 5}, limit=1)
        wire.delete("Job", [victim.record_id])
    with pytest.raises(DifferencesFound, match="94 records of Job and 95"):
        rig.run()


def test_records_of_an_application_are_left_alone_and_not_counted(rig: Rig) -> None:
    """They carry our label and none of our properties."""
    with contextlib.closing(rig.wire()) as wire:
        wire.create("Job", [Outbound("", {"id": 1, "title": "written by an application"})])
        assert rig.run().complete
        assert wire.find("Job", {}, limit=1)[1] == ROWS + 1


def test_the_state_tells_how_far_it_is(rig: Rig) -> None:
    """Position, runs and their codes."""
    rig.run(limit=30)
    rig.table = {"label": "Posting"}
    with pytest.raises(Refused):
        rig.run()
    rig.table = {}
    found = status(rig.config(), surroundings=rig.around())
    [table] = found.tables
    assert (table.rows_planned, table.rows_stored, table.unsettled_batches) == (ROWS, 30, 0)
    assert [run["exit_code"] for run in found.runs] == [4, 0]
    rig.run()
    [table] = status(rig.config(), surroundings=rig.around()).tables
    assert (table.rows_stored, table.ranges, table.ranges_done) == (ROWS, 4, 4)


def test_a_link_to_a_label_that_nothing_becomes_is_refused(rig: Rig) -> None:
    """A setting that does nothing is a trap."""
    config = rig.config()
    content = {"type": "POSTED_BY", "source": "Job.company", "target": "Company.name"}
    with pytest.raises(MigrationError, match="no \\[\\[tables\\]\\] or \\[\\[nodes\\]\\] entry has the label Company"):
        parse_config({**_plain(config), "links": [content]}, {}, base=rig.folder, stem="jobs")


def _plain(config: Config) -> dict[str, Any]:
    """The smallest configuration of the same ends."""
    return {
        "source": {"dsn": {"env": "DSN"}},
        "target": {"url": config.target.url, "api_key": {"env": "KEY"}},
        "tables": [{"name": "public.job", "label": "Job", "columns": ["id"]}],
    }
