"""Whole plans, PostgreSQL and sandbox: what they count, what they say, and that nothing is written anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from byov_migrate import backfill, plan, sandbox
from byov_migrate.config import Config, parse_config
from byov_migrate.embed import load_encoder
from byov_migrate.errors import Interrupted
from byov_migrate.jobs.plan import PlanResult, TablePlan
from byov_migrate.jobs.planning import sampling
from byov_migrate.jobs.planning.volumes import edge_bytes
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.report.planning import print_plan, refusal_of
from byov_migrate.report.results import print_json
from byov_migrate.state import open_state
from byov_migrate.state.links import LinkRow
from tests.acceptance.recorder import recording
from tests.models import make_tiny_model

KEY = "key-of-a-test"
ROWS = 600
TEXT = "repeat('work the data team and ', 1 + mod(n, 23)) || n"
FILL = f"INSERT INTO job SELECT n, 'posting ' || n, n * 1.5, {TEXT} FROM generate_series(1, %s) AS n"


@dataclass
class Rig:
    """A table with text, a sandbox, a tiny model. `table` and `embedding` overlay the configuration."""

    folder: Path
    dsn: str
    url: str
    table: dict[str, Any] = field(default_factory=dict)
    embedding: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def config(self) -> Config:
        """Title and pay leave, the description stays, unless changed."""
        embedding = {"property": "vec", "text": "{title}\n{description}", "model": "m", **self.embedding}
        plain = {"name": "public.job", "label": "Job", "columns": ["id", "title", "pay"], "embeddings": [embedding]}
        content = {
            "source": {"dsn": {"env": "DSN"}},
            "target": {"url": self.url, "api_key": {"env": "KEY"}, "give_up_after": "5s"},
            "state": self.state,
            "models": {"m": {"path": "model", "device": "cpu"}},
            "tables": [{**plain, **self.table}],
            **self.more,
        }
        return parse_config(content, {}, base=self.folder, stem="jobs")

    def around(self, **changed: Any) -> Surroundings:
        """Surroundings with the two secrets."""
        log = lambda action, **fields: self.events.append((action, fields))  # noqa: E731
        return Surroundings(environment={"DSN": self.dsn, "KEY": KEY}, log=log, **changed)

    def plan(self, **options: Any) -> PlanResult:
        """A plan."""
        return plan(self.config(), surroundings=self.around(), **options)

    def one(self, **options: Any) -> TablePlan:
        """A plan's only table."""
        [table] = self.plan(**options).tables
        return table

    def execute(self, statement: str, parameters: tuple[Any, ...] | None = None) -> None:
        """Change the source."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, parameters)

    def texts(self) -> list[str]:
        """What is embedded, put together by PostgreSQL."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("SELECT title || E'\\n' || description FROM job WHERE description IS NOT NULL")
            return [row[0] for row in rows]

    def tokens_read(self) -> int:
        """By the model, of all texts."""
        encoder = load_encoder(self.config().models["m"])
        return sum(min(count, encoder.window) for count in encoder.count_tokens(self.texts()))

    def files(self) -> dict[str, bytes]:
        """All of the folder but the sandbox's and the model's."""
        found = (path for path in self.folder.iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in found}


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[Rig]:
    """600 rows with text."""
    make_tiny_model(tmp_path / "model")
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        made = Rig(tmp_path, database, target.url)
        made.execute("CREATE TABLE job (id int PRIMARY KEY, title text, pay float8, description text)")
        made.execute(FILL, (ROWS,))
        yield made


def shown(result: PlanResult, capsys: pytest.CaptureFixture[str]) -> str:
    """The plan on a terminal."""
    capsys.readouterr()
    print_plan(result)
    return capsys.readouterr().out


def test_a_small_table_is_counted_to_the_token(rig: Rig) -> None:
    """Every row is in the sample, so nothing is estimated but time."""
    table = rig.one()
    [item] = table.embeddings
    assert (table.rows, table.sampled, item.texts.value) == (ROWS, ROWS, ROWS)
    assert item.tokens.is_exact
    assert item.tokens.value == rig.tokens_read()
    assert table.timing.seconds.low < table.timing.seconds.value < table.timing.seconds.high
    assert table.timing.slowest in ("embedding", "writing")


def test_bytes_requests_and_state_are_those_of_the_backfill(rig: Rig) -> None:
    """Within a tenth for bytes; requests of proofs come and go with the machine."""
    table = rig.one()
    [done] = backfill(rig.config(), surroundings=rig.around()).tables
    assert table.bytes_out == pytest.approx(done.bytes_out, rel=0.1)
    assert table.requests == pytest.approx(done.requests, abs=10)
    assert table.state_bytes == pytest.approx((rig.folder / "jobs.state.db").stat().st_size, rel=0.35)
    assert table.embeddings[0].tokens.value == done.this_run.tokens
    assert table.embeddings[0].texts.value == done.this_run.texts


@pytest.mark.parametrize("method", ["BERNOULLI", "SYSTEM"])
def test_a_large_table_is_sampled_and_its_interval_holds_the_truth(
    rig: Rig, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rows or by pages; a plan need not read what a backfill reads."""
    monkeypatch.setattr(sampling, "READ_WHOLE", 1000)
    monkeypatch.setattr(sampling, "BERNOULLI_ROWS", 1000 if method == "SYSTEM" else 10**6)
    rig.execute("DELETE FROM job")
    rig.execute(FILL, (6_000,))
    drawn = rig.one()
    counted = rig.one(exact=True)
    assert (drawn.sampled, counted.embeddings[0].tokens.is_exact) == (sampling.SAMPLE_ROWS, True)
    assert counted.embeddings[0].tokens.value == rig.tokens_read()
    estimate = drawn.embeddings[0].tokens
    assert not estimate.is_exact
    assert estimate.share < 0.05
    # Three times the 90 % half: a false alarm once in a million draws.
    assert abs(estimate.value - counted.embeddings[0].tokens.value) < 3 * (estimate.high - estimate.value)


def test_rows_that_lie_together_are_found_without_a_full_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """`where` may choose rows of a few pages, which a draw of pages can miss altogether."""
    monkeypatch.setattr(sampling, "READ_WHOLE", 100)
    monkeypatch.setattr(sampling, "BERNOULLI_ROWS", 100)
    rig.execute("DELETE FROM job")
    rig.execute(FILL, (6_000,))
    rig.table = {"where": ["id > 5000"]}
    table = rig.one()
    assert (table.rows, table.sampled) == (1000, 1000)


def test_rows_without_text_and_rows_that_are_refused_are_counted(rig: Rig) -> None:
    """With the setting that would mend it, and no value."""
    rig.execute("UPDATE job SET description = NULL, title = NULL WHERE id <= 60")
    rig.execute("UPDATE job SET pay = 'NaN' WHERE id > 570")
    table = rig.one()
    assert table.embeddings[0].texts.value == ROWS - 60 - 30
    [reject] = table.rejects
    assert reject.column == "pay"
    assert reject.share.value == pytest.approx(30 / ROWS)


def test_nothing_is_written_anywhere(rig: Rig) -> None:
    """No state, no key, no index, no record: a database that takes no writes will do, and the target sees only GET."""
    name = conninfo_to_dict(rig.dsn)["dbname"]
    rig.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    before = rig.files()
    with recording(rig.url) as record:
        rig.url = record.url
        rig.plan()
        rig.plan(exact=True)
        sent = record.everything
    assert rig.files() == before
    assert set(re.findall(rb"(?m)^([A-Z]+) /\S* HTTP/1.1\r$", sent)) == {b"GET"}


@pytest.mark.parametrize("is_open", [False, True])
def test_a_state_stays_as_it_is_to_the_byte(rig: Rig, *, is_open: bool) -> None:
    """Also while a run has it open, or after one was killed, when a log lies beside it."""
    backfill(rig.config(), surroundings=rig.around())
    with contextlib.ExitStack() as stack:
        if is_open:
            state = stack.enter_context(
                contextlib.closing(open_state(rig.config().state_path, lambda: 0.0, create=False))
            )
            state.runs.begin_run("backfill")
        before = {name: content for name, content in rig.files().items() if not name.endswith("-shm")}
        result = rig.plan()
        after = {name: content for name, content in rig.files().items() if not name.endswith("-shm")}
    assert after == before
    assert (result.state.exists, result.state.problem, result.state.changes) == (True, None, ())
    [table] = result.tables
    assert (table.stored, table.bytes_out) == (ROWS, 0)
    assert table.timing.seconds.high < 1


def test_a_target_that_is_away_is_told_and_the_rest_is_given(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """The times are assumed then, and said to be."""
    rig.url = "http://127.0.0.1:9"
    result = rig.plan()
    assert (result.target.kind, result.exit_code) == (None, 0)
    assert result.tables[0].rows == ROWS
    text = shown(result, capsys)
    assert "Target   not reached (" in text
    assert "State    none yet" in text


def test_a_damaged_state_is_told_and_the_rest_is_given(rig: Rig) -> None:
    """A plan may be what somebody looks at when something is wrong."""
    (rig.folder / "jobs.state.db").write_bytes(b"no database" * 100)
    result = rig.plan()
    assert result.state.problem is not None
    assert result.tables[0].rows == ROWS


def test_a_view_is_read_as_a_whole(rig: Rig) -> None:
    """It cannot be sampled by PostgreSQL."""
    rig.execute("CREATE VIEW open_job AS SELECT * FROM job WHERE id % 2 = 0")
    rig.table = {"name": "public.open_job", "key": ["id"]}
    table = rig.one()
    assert (table.rows, table.sampled, table.embeddings[0].texts.value) == (ROWS // 2, ROWS // 2, ROWS // 2)


def test_ready_vectors_need_no_model(rig: Rig) -> None:
    """Nothing is embedded; the target is what takes time, and the vectors' size is known."""
    rig.execute("ALTER TABLE job ADD embedding real[]")
    rig.execute("UPDATE job SET embedding = ARRAY[sin(id), cos(id), id, 1]::real[] WHERE id > 100")
    rig.embedding = {"vector": "embedding", "text": None, "model": None}
    table = rig.one()
    [item] = table.embeddings
    assert (item.texts.value, item.dimension, item.model) == (ROWS - 100, 4, None)
    assert table.timing.slowest == "writing"
    [done] = backfill(rig.config(), surroundings=rig.around()).tables
    assert table.bytes_out == pytest.approx(done.bytes_out, rel=0.1)


def test_an_empty_table_has_a_plan(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is divided by nothing."""
    rig.execute("DELETE FROM job")
    result = rig.plan()
    assert (result.tables[0].rows, result.tables[0].bytes_out, result.tables[0].example) == (0, 0, None)
    assert "Job: 0 rows" in shown(result, capsys)


def test_no_value_is_shown(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither of what leaves nor of what stays, as text or as JSON; types are."""
    rig.execute("UPDATE job SET title = 'zqcanary' || id, description = 'zqsecret words ' || id, pay = 73191.25")
    result = rig.plan()
    text = shown(result, capsys)
    print_json(result)
    text += capsys.readouterr().out
    assert not any(value in text for value in ("zqcanary", "zqsecret", "73191"))
    assert re.search(r"leaves   title +column title +as in text \*{8}#", text)
    assert re.search(r"leaves   pay +column pay +as in number #{5}\.##", text)
    assert "stays    description" in text


def test_withheld_text_in_a_sent_column_ends_2(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """With column, share and what to do."""
    rig.execute("UPDATE job SET title = left(description, 60) WHERE id <= 300")
    result = rig.plan()
    assert result.exit_code == 2
    message = refusal_of(result)
    assert "column title of public.job repeats text of description in" in str(message)
    assert 'allow_overlap = ["title"]' in (message.next_step or "")
    assert "check    title repeats 8-word runs of description" in shown(result, capsys)


def test_withheld_text_that_is_allowed_ends_0(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told all the same."""
    rig.execute("UPDATE job SET title = left(description, 60) WHERE id <= 300")
    rig.table = {"allow_overlap": ["title"]}
    result = rig.plan()
    assert result.exit_code == 0
    assert "of rows: allowed" in shown(result, capsys)


def test_a_changed_setting_is_told_with_what_it_costs(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Field by field, each with its class; a column taken away costs every vector."""
    backfill(rig.config(), surroundings=rig.around())
    rig.table = {"columns": ["id", "title"]}
    rig.embedding = {"text": "{description}"}
    rig.execute("ALTER TABLE job ALTER id TYPE bigint")
    result = rig.plan()
    found = {change.field: change.change for change in result.state.changes}
    assert found == {
        "tables[public.job].columns": "apply",
        "tables[public.job].embeddings[vec].text": "re-embed",
        "tables[public.job].schema.id": "re-identify",
    }
    assert result.state.to_clear == {"public.job": ROWS}
    text = shown(result, capsys)
    assert "[apply: only what changed has to be written]" in text
    assert "[re-embed: the texts have to be embedded again]" in text
    assert f"{ROWS} unchanged texts would be embedded again" in text


@pytest.mark.parametrize(
    ("state", "table", "to_clear"),
    [
        ({}, {"rename": {"title": "jobTitle"}}, {"public.job": ROWS}),
        ({}, {"columns": ["id", "title", "pay", "description"], "embeddings": []}, {}),
        ({"vectors": True}, {"columns": ["id", "title"]}, {}),
    ],
    ids=["renamed", "one more", "vectors kept"],
)
def test_only_what_disappears_costs_vectors_and_only_when_nobody_kept_them(
    rig: Rig, state: dict[str, Any], table: dict[str, Any], to_clear: dict[str, int]
) -> None:
    """A promise of hours of embedding that are not needed would hold a change back for nothing."""
    rig.state = state
    backfill(rig.config(), surroundings=rig.around())
    rig.table = table
    assert rig.plan().state.to_clear == to_clear


def test_a_backfill_tells_the_digest_of_the_plan_once(rig: Rig) -> None:
    """In its log, first of all, and in the state; a second run tells it in its own."""
    digest = rig.plan().digest
    for _ in range(2):
        rig.events.clear()
        backfill(rig.config(), surroundings=rig.around())
        assert rig.events[0] == ("plan-digest", {"digest": digest})
        assert sum(action == "plan-digest" for action, _ in rig.events) == 1
    with contextlib.closing(open_state(rig.config().state_path, lambda: 0.0, create=False)) as state:
        noted = [event for event in state.runs.events("") if event["action"] == "plan-digest"]
    assert [event["fields"] for event in noted] == [{"digest": digest}] * 2


def test_a_stop_ends_a_plan(rig: Rig) -> None:
    """Between two pages or slices."""
    around = rig.around()
    around.stop.set()
    with pytest.raises(Interrupted):
        plan(rig.config(), surroundings=around)


def test_a_result_is_frozen_and_plain(rig: Rig) -> None:
    """Host programs keep it; `--json` prints the numbers of the screen."""
    result = rig.plan()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.digest = ""  # type: ignore[misc]


GRAPH: dict[str, list[dict[str, Any]]] = {
    "nodes": [
        {"label": "City", "table": "public.job", "column": "city"},
        {"label": "Skill", "table": "public.job", "column": "skills"},
    ],
    "links": [
        {"type": "IN", "source": "Job.city", "target": "City.name"},
        {"type": "WANTS", "source": "Job.skills", "target": "Skill.name"},
        {"type": "LIKE", "source": "Job", "target": "Job", "through": "alike", "properties": ["degree"]},
    ],
}


def make_graph(rig: Rig) -> None:
    """Jobs in cities, with skills, some like others."""
    rig.execute("ALTER TABLE job ADD city text, ADD skills text[]")
    rig.execute("UPDATE job SET city = 'city ' || id % 7 WHERE id % 3 > 0")
    rig.execute("UPDATE job SET skills = ARRAY['skill ' || id % 5, 'skill ' || id % 2, NULL] WHERE id % 2 = 0")
    rig.execute("CREATE TABLE alike (a int REFERENCES job, b int REFERENCES job, degree int, PRIMARY KEY (a, b))")
    rig.execute("INSERT INTO alike SELECT n, n + 1, n FROM generate_series(1, 50) AS n")
    rig.more = GRAPH


def test_nodes_and_links_are_counted_as_they_are_then_made(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Values, array elements, rows of a join table; what leaves with them is listed."""
    make_graph(rig)
    result = rig.plan()
    job, city, skill = result.tables
    assert [leaving.property_name for leaving in job.leaving if leaving.property_name.startswith("byovRef")] == [
        "byovRef_IN",
        "byovRef_WANTS",
    ]
    assert job.example is not None
    assert {"byovRef_IN", "byovRef_WANTS"} <= set(job.example)
    assert ("name", "each value of column skills of public.job") in [
        (item.property_name, item.origin) for item in skill.leaving
    ]
    assert (city.rows, skill.rows) == (7, 5)
    assert [(item.property_name, item.origin) for item in result.links[2].leaving] == [
        ("degree", "column degree of public.alike")
    ]
    done = backfill(rig.config(), surroundings=rig.around())
    assert {link.name: link.links.value for link in result.links} == {link.name: link.stored for link in done.links}
    assert all(link.links.is_exact for link in result.links)
    for planned, made in zip(result.links, done.links, strict=True):
        assert made.requests <= planned.requests + 4  # and a few for what a run asks of every link
    text = shown(result, capsys)
    assert "City: 7 values of public.job.city" in text
    assert "Job.IN: 400 links to City, carried by Job as byovRef_IN, at most 2 requests; state" in text
    assert "Job.LIKE: 50 links to Job, read as pairs, at most 100 requests; state" in text
    assert "leaves   degree                   column degree of public.alike, as a property of the link" in text
    parts = [link.seconds for link in result.links] + [table.timing.seconds for table in result.tables]
    assert all(link.seconds.low > 0 for link in result.links)
    assert result.seconds.low > sum(part.low for part in parts)  # and the start
    assert text.count("after the records (assumed)") == len(result.links)
    after = rig.plan()
    assert (after.state.changes, after.tables[1].stored) == ((), 7)
    assert [link.seconds.value for link in after.links] == [0.0] * len(after.links)
    with contextlib.closing(open_state(rig.config().state_path, lambda: 0.0, create=False)) as state:
        state.links.loosen_link("Job.IN")
    in_city, *others = [link.seconds.value for link in rig.plan().links]
    assert (in_city > 0, others) == (True, [0.0] * len(others))


def test_a_large_table_of_links_is_estimated_and_its_values_are_not_sampled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distinct values of a column are no relation that could be drawn from."""
    monkeypatch.setattr(sampling, "READ_WHOLE", 3)
    rig.execute("DELETE FROM job")
    rig.execute(FILL, (6_000,))
    make_graph(rig)
    result = rig.plan()
    assert [table.rows for table in result.tables] == [6_000, 7, 5]
    first, second, pairs = (link.links for link in result.links)
    assert not first.is_exact
    # Three times the 90 % half, as above.
    assert abs(first.value - 4_000) < 3 * (first.high - first.value)
    assert abs(second.value - 5_400) < 3 * (second.high - second.value)
    assert (pairs.value, pairs.is_exact) == (50, True)


@pytest.mark.parametrize(("source", "target"), [(5, 3), (36, 36)], ids=["numbers", "identifiers"])
def test_the_bytes_of_links_are_those_of_a_state(tmp_path: Path, source: int, target: int) -> None:
    """With the indexes that they are found by."""
    count = 20_000
    sizes = []
    for number in (0, count):
        path = tmp_path / f"{number}.db"
        pairs = [(f"{n * 7919 % count:0{source}d}", f"{n % 500:0{target}d}", "") for n in range(number)]
        with contextlib.closing(open_state(path, lambda: 0.0, create=True)) as state:
            state.links.register([LinkRow("Job.LIKE", "LIKE", "job", "job", carried=False)])
            state.links.read_pairs("Job.LIKE", pairs)
        sizes.append(path.stat().st_size)
    assert edge_bytes(count, source, target) == pytest.approx(sizes[1] - sizes[0], rel=0.2)


def test_a_link_that_changed_is_told_as_a_run_would(rig: Rig) -> None:
    """And what has not changed is not."""
    make_graph(rig)
    backfill(rig.config(), surroundings=rig.around())
    rig.more = {**GRAPH, "links": [*GRAPH["links"][:1], {**GRAPH["links"][1], "type": "NEEDS"}, GRAPH["links"][2]]}
    [change] = rig.plan().state.changes
    assert (change.field, change.change) == ("tables[public.job].links", "apply")


def test_cloud_usage_stands_beside_what_its_plans_hold(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Records, nodes, links, vectors; said to be an estimate. Elsewhere there is none of it."""
    assert rig.plan().usage is None
    config = rig.config()
    target = config.target.model_copy(update={"url": "https://api.rushdb.com", "proxy": "http://127.0.0.1:9"})
    result = plan(config.model_copy(update={"target": target}), surroundings=rig.around())
    assert result.usage is not None
    assert (result.usage.records, result.usage.vectors, result.usage.units) == (ROWS, ROWS, 10 * ROWS)
    text = shown(result, capsys)
    assert "(an estimate); Free holds 100,000 a month, Pro holds 10,000,000 a month" in text
    make_graph(rig)
    config = rig.config().model_copy(update={"target": target})
    used = plan(config, surroundings=rig.around()).usage
    assert used is not None
    assert (used.records, used.nodes, used.links) == (ROWS + 12, 12, 400 + 540 + 50)
