"""Each finding of `check` with its failure made real, and that looking leaves nothing behind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from byov_migrate import backfill, sandbox
from byov_migrate.config import Config, TargetConfig, parse_config
from byov_migrate.jobs.check import CheckResult, Finding, check
from byov_migrate.jobs.check.clocks import TOLERANCE_S
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state.lock import run_lock
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Outbound
from tests.models import change_json, make_tiny_model
from tests.pooler import pooling
from tests.postgres import free_port

KEY = "key-of-a-test"
READ_KEY = "read-key-of-a-test"
WORD = "word-of-a-reader"
TABLE = """
CREATE TABLE job (
    id int PRIMARY KEY, title text, body text, changed timestamptz NOT NULL DEFAULT now(), price money,
    embedding real[]
);
INSERT INTO job (id, title, body, price, embedding)
SELECT n, 'title ' || n, 'body ' || n, n, ARRAY[sin(n), cos(n), n, 1]::real[] FROM generate_series(1, 30) AS n
"""


@dataclass
class Rig:
    """A table, a reader of it, a sandbox, and a configuration that joins them; each part can be made wrong."""

    folder: Path
    admin: str
    dsn: str
    reader: str
    url: str
    key: str = KEY
    source: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    late_s: float = 0.0

    def config(self) -> Config:
        """One table with ready vectors, unless changed."""
        plain = {
            "name": "public.job",
            "label": "Job",
            "columns": ["id", "title"],
            "embeddings": [{"property": "description", "vector": "embedding"}],
        }
        content = {
            "source": {"dsn": {"env": "DSN"}, **self.source},
            "target": {"url": self.url, "api_key": {"env": "KEY"}, "give_up_after": "2s", **self.target},
            "state": self.state,
            "models": self.models,
            "tables": [{**plain, **self.table}],
            **self.more,
        }
        return parse_config(content, {}, base=self.folder, stem="jobs")

    def around(self) -> Surroundings:
        """Surroundings with the two secrets, and a clock that may be wrong."""
        moment = Surroundings().clock
        environment = {"DSN": self.dsn, "KEY": self.key}
        return Surroundings(environment=environment, clock=lambda: moment() - self.late_s)

    def check(self) -> CheckResult:
        """Look."""
        return check(self.config(), surroundings=self.around())

    def found(self, name: str, verdict: str) -> list[Finding]:
        """The findings of this name and verdict."""
        return [item for item in self.check().findings if (item.name, item.verdict) == (name, verdict)]

    def failure(self, name: str) -> Finding:
        """The only failure, which has this name; the check ends with its code."""
        result = self.check()
        [failed] = [item for item in result.findings if item.verdict == "fail"]
        assert (failed.name, result.exit_code) == (name, failed.code)
        return failed

    def backfill(self) -> None:
        """Bring all rows."""
        backfill(self.config(), surroundings=self.around())

    def execute(self, statement: str) -> None:
        """Change the source as its owner."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def wire(self) -> Iterator[RestWire]:
        """Somebody else's client."""
        config = TargetConfig.model_validate({"url": self.url, "api_key": {"env": "KEY"}})
        with contextlib.closing(RestWire(HttpClient(config, lambda: KEY, timeout_s=10))) as wire:
            yield wire

    def embed(self, **model: Any) -> None:
        """Have a model embed the body instead."""
        self.models = {"tiny": {"path": "tiny", "device": "cpu", **model}}
        self.table["embeddings"] = [{"property": "description", "text": "{body}", "model": "tiny"}]


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[Rig]:
    """30 rows, read by a role that may only read."""
    name = f"reader_{conninfo_to_dict(database)['dbname']}"
    with sandbox.running(tmp_path / "sandbox", KEY, read_key=READ_KEY) as target:
        dsn = make_conninfo(database, user=name, password=WORD)
        made = Rig(tmp_path / "migration", database, dsn, name, target.url)
        made.folder.mkdir()
        made.execute(TABLE)
        made.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{WORD}'; GRANT SELECT ON job TO {name}")
        yield made
        made.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_all_is_well_and_nothing_is_written(rig: Rig) -> None:
    """Neither before the first backfill nor after it: no file, no record, no change to one."""
    before = rig.check()
    assert (before.exit_code, before.failures, before.warnings) == (0, 0, 0)
    assert list(rig.folder.iterdir()) == []
    rig.backfill()
    files = {path: path.read_bytes() for path in rig.folder.iterdir()}
    with rig.wire() as wire:
        held = wire.find("Job", {}, limit=100), wire.find("ByovMigration", {}, limit=10)
    after = rig.check()
    assert (after.exit_code, after.failures, after.warnings) == (0, 0, 0)
    assert {path: path.read_bytes() for path in rig.folder.iterdir()} == files
    with rig.wire() as wire:
        assert (wire.find("Job", {}, limit=100), wire.find("ByovMigration", {}, limit=10)) == held


def test_no_secret_is_in_a_finding(rig: Rig) -> None:
    """Whether the ends accept it or not."""
    for wrong in (False, True):
        rig.key = "no-such-key" if wrong else KEY
        rig.dsn = make_conninfo(rig.dsn, password="no-such-word") if wrong else rig.dsn
        said = repr(rig.check())
        assert not any(secret in said for secret in (KEY, WORD, "no-such-key", "no-such-word"))


def test_both_ends_are_looked_at_though_both_refuse(rig: Rig) -> None:
    """A person mends all of it at once; the worst code is the last."""
    rig.dsn, rig.key = make_conninfo(rig.dsn, password="no"), READ_KEY
    rig.table["columns"] = ["id"]
    result = rig.check()
    assert {item.name for item in result.findings if item.verdict == "fail"} == {"source", "target-key"}
    assert result.exit_code == 77


def test_a_wrong_password_ends_77(rig: Rig) -> None:
    """The target and the state are looked at all the same."""
    rig.dsn = make_conninfo(rig.dsn, password="no")
    assert rig.failure("source").code == 77
    assert rig.found("target", "ok")


def test_a_secret_that_is_not_set_ends_77(rig: Rig) -> None:
    """By the name of the variable."""
    rig.key = ""
    assert "KEY" in rig.failure("target").what


def test_an_unknown_host_ends_69_and_a_closed_port_75(rig: Rig) -> None:
    """One needs a person, the other may pass."""
    rig.target = {"url": "https://no-such-host.invalid"}
    assert rig.failure("target").code == 69
    rig.target = {"url": f"http://127.0.0.1:{free_port()}"}
    assert rig.failure("target").code == 75
    rig.target = {}
    rig.dsn = make_conninfo(rig.dsn, port=free_port())
    assert rig.failure("source").code == 75


def test_a_key_that_may_only_read_ends_77(rig: Rig) -> None:
    """Before a backfill finds out."""
    rig.key = READ_KEY
    assert "may only read" in rig.failure("target-key").what


def test_a_role_that_can_write_is_a_warning_with_the_statements_for_a_better_one(rig: Rig) -> None:
    """A superuser too."""
    rig.execute(f"GRANT UPDATE (title) ON job TO {rig.reader}")
    [warned] = rig.found("source-role", "warn")
    assert "may change public.job" in warned.what
    assert "GRANT SELECT ON public.job TO byov_reader" in (warned.fix or "")
    rig.dsn = rig.admin
    [warned] = rig.found("source-role", "warn")
    assert "is a superuser" in warned.what


def test_hidden_rows_end_69(rig: Rig) -> None:
    """A row that a policy hides would look deleted."""
    rig.execute(f"ALTER TABLE job ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON job TO {rig.reader} USING (id < 5)")
    failed = rig.failure("table")
    assert (failed.code, failed.about) == (69, "table public.job")
    assert "BYPASSRLS" in (failed.fix or "")


def test_a_missing_table_ends_2_with_a_near_name(rig: Rig) -> None:
    """And its place in the configuration."""
    rig.table["name"] = "public.jobs"
    failed = rig.failure("table")
    assert failed.code == 2
    assert 'did you mean "public.job"?' in failed.what


def test_every_mistake_about_a_table_is_a_finding_of_its_own(rig: Rig) -> None:
    """With its key path."""
    rig.table |= {"columns": ["id", "titel"], "where": ["id = many"], "changed_by": "when"}
    failed = [item for item in rig.check().findings if item.verdict == "fail"]
    assert [item.place for item in failed] == ["tables[0].columns[1]", "tables[0].changed_by"]
    rig.table |= {"columns": ["id"], "changed_by": "changed"}
    assert rig.failure("table").place == "tables[0].where[0]"


def test_a_missing_privilege_ends_77_with_the_grant(rig: Rig) -> None:
    """On the schema or the table."""
    rig.execute(f"REVOKE SELECT ON job FROM {rig.reader}")
    failed = rig.failure("table")
    assert failed.code == 77
    assert (failed.fix or "").startswith("GRANT SELECT ON public.job")


def test_a_type_without_an_exact_form_ends_2_with_the_line_that_helps(rig: Rig) -> None:
    """Each of its rows would be rejected."""
    rig.table["columns"] = ["id", "price"]
    failed = rig.failure("table-type")
    assert (failed.code, failed.place) == (2, "tables[0].columns[1]")
    assert 'types = { price = "text" }' in (failed.fix or "")
    rig.table["types"] = {"price": "text"}
    assert rig.check().failures == 0


def test_a_vector_column_without_a_vector_ends_2(rig: Rig) -> None:
    """Their dimension is unknown, so no index can be made."""
    rig.execute("UPDATE job SET embedding = NULL")
    assert rig.failure("table-vector").code == 2


def test_a_property_that_queries_cannot_write_is_a_warning(rig: Rig) -> None:
    """RushDB takes it; people stumble."""
    rig.table["rename"] = {"title": "the title"}
    [warned] = rig.found("table-property", "warn")
    assert warned.place == "tables[0].columns[1]"


def test_changes_that_cannot_be_told_are_a_warning_with_the_reason(rig: Rig) -> None:
    """A view has no transaction ids; a grant on columns does not show them."""
    rig.execute(f"CREATE VIEW shown AS SELECT * FROM job; GRANT SELECT ON shown TO {rig.reader}")
    rig.table |= {"name": "public.shown", "key": ["id"]}
    assert "is a view" in rig.found("table-changes", "warn")[0].what
    assert rig.found("table-key", "warn")
    rig.table |= {"changed_by": "changed", "strategy": "watermark"}
    [warned] = rig.found("source-statistics", "warn")
    assert warned.fix == f"GRANT pg_read_all_stats TO {rig.reader}"
    rig.execute(f"GRANT pg_read_all_stats TO {rig.reader}")
    assert rig.found("source-statistics", "warn") == []
    assert "sync by watermark" in rig.found("table-changes", "ok")[0].what


def test_the_marker_of_another_state_ends_4(rig: Rig) -> None:
    """With no state here, and with one of one's own."""
    rig.backfill()
    rig.state = {"url": "sqlite:///other.state.db", "hash_key": {"file": "jobs.hash-key"}}
    failed = rig.failure("label-owner")
    assert failed.code == 4
    assert "there is no state here" in failed.what
    rig.table["label"] = "Other"
    rig.backfill()
    del rig.table["label"]
    both = {item.name: item for item in rig.check().findings if item.verdict == "fail"}
    assert set(both) == {"label-owner", "state-scope"}
    assert "this one is" in both["label-owner"].what


def test_our_records_without_a_marker_end_4(rig: Rig) -> None:
    """A state that knows none of them would double them; one that knows them is at the wrong project."""
    rig.backfill()
    with rig.wire() as wire:
        markers, _ = wire.find("ByovMigration", {}, limit=10)
        wire.delete("ByovMigration", [marker.record_id for marker in markers])
    assert "holds no marker" in rig.failure("label-owner").what
    rig.state = {"url": "sqlite:///new.state.db", "hash_key": {"file": "jobs.hash-key"}}
    assert "this state knows none of them" in rig.failure("label-owner").what


def test_records_of_others_are_counted_and_are_no_failure(rig: Rig) -> None:
    """They are left alone."""
    with rig.wire() as wire:
        wire.create("Job", [Outbound("x", {"title": "theirs"})])
    assert "1 records of others" in rig.found("label-owner", "ok")[0].what


def test_an_index_of_another_dimension_ends_4(rig: Rig) -> None:
    """Its vectors and ours cannot be compared."""
    with rig.wire() as wire:
        wire.create_index("Job", "description", 7, "cosine")
    failed = rig.failure("label-index")
    assert failed.code == 4
    assert "7 dimensions" in failed.what


def test_an_index_that_is_gone_ends_4_with_what_fills_it_again(rig: Rig) -> None:
    """Before the first backfill there is none, and nothing is wrong with that."""
    assert "no index on description yet" in rig.found("label-index", "ok")[0].what
    rig.backfill()
    with rig.wire() as wire:
        wire.delete_index(wire.indexes()[0])
    failed = rig.failure("label-index")
    assert "index on Job.description is gone from RushDB" in failed.what
    assert failed.fix == "byov-migrate sync --full --accept index"
    assert failed.code == 4


def test_a_changed_setting_ends_4_with_both_values(rig: Rig) -> None:
    """What a backfill would refuse, and a moved database with the command that accepts it."""
    rig.backfill()
    rig.table["columns"] = ["id"]
    assert "tables[public.job].columns is now ['id']" in rig.failure("state-scope").what
    rig.table["columns"] = ["id", "title"]
    rig.execute("ALTER TABLE job ALTER title TYPE varchar(80)")
    assert rig.failure("state-scope").fix == "byov-migrate sync --full --accept source"


def test_an_unsafe_model_directory_ends_2(rig: Rig) -> None:
    """Of a class of its own, and one that is not there."""
    rig.embed()
    assert "there is no such directory" in rig.failure("model-files").what
    make_tiny_model(rig.folder / "tiny")
    assert rig.check().failures == 0
    modules = rig.folder / "tiny" / "modules.json"
    modules.write_text(modules.read_text().replace("sentence_transformers.models.Pooling", "evil.Pooling"))
    assert rig.failure("model-files").code == 2


def test_prompts_that_are_declared_and_not_configured_are_a_warning(rig: Rig) -> None:
    """A model that was trained with them is worse without."""
    rig.embed()
    make_tiny_model(rig.folder / "tiny", prompts={"query": "query: "})
    assert rig.found("model-prompts", "warn")
    rig.embed(query_prompt="query: ")
    assert rig.found("model-prompts", "warn") == []


def test_a_device_that_is_not_there_ends_2(rig: Rig) -> None:
    """Not a silent CPU."""
    make_tiny_model(rig.folder / "tiny")
    rig.embed(device="cuda:9")
    assert rig.failure("model-device").code in (2, 69)


def test_a_model_that_did_not_make_the_vectors_ends_2(rig: Rig) -> None:
    """Queries of 32 dimensions find nothing among vectors of 4."""
    make_tiny_model(rig.folder / "tiny")
    rig.models = {"tiny": {"path": "tiny", "device": "cpu"}}
    rig.table["embeddings"] = [{"property": "description", "vector": "embedding", "model": "tiny"}]
    assert rig.failure("model-fit").place == "tables[0].embeddings[0].model"


def test_a_fingerprint_that_changed_ends_4(rig: Rig) -> None:
    """One index must not hold two vector spaces."""
    make_tiny_model(rig.folder / "tiny")
    rig.embed()
    rig.backfill()
    change_json(rig.folder / "tiny" / "sentence_bert_config.json", max_seq_length=32)
    assert "fingerprint" in rig.failure("state-scope").what


def test_a_held_lock_ends_75_and_says_who_holds_it(rig: Rig) -> None:
    """A check does not take it away, and gives back what it took."""
    with run_lock(rig.config().state_path, command="backfill", now=0.0):
        failed = rig.failure("state-lock")
        assert failed.code == 75
        assert "backfill, process" in failed.what
    assert rig.found("state-lock", "ok")
    with run_lock(rig.config().state_path, command="sync", now=0.0):
        pass


def test_a_secret_that_others_can_read_ends_77(rig: Rig) -> None:
    """The hash key, and the target's."""
    rig.backfill()
    (rig.folder / "jobs.hash-key").chmod(0o644)
    assert "chmod 600" in rig.failure("hash-key").what
    (rig.folder / "jobs.hash-key").chmod(0o600)
    (rig.folder / "key").write_text(KEY, encoding="utf-8")
    (rig.folder / "key").chmod(0o644)
    rig.target = {"api_key": {"file": "key"}}
    assert "chmod 600" in rig.failure("target").what


def test_a_hash_key_that_is_gone_ends_4(rig: Rig) -> None:
    """The state depends on it."""
    rig.backfill()
    (rig.folder / "jobs.hash-key").unlink()
    assert rig.failure("hash-key").code == 4
    assert not (rig.folder / "jobs.hash-key").exists()


def test_a_state_that_is_none_ends_4(rig: Rig) -> None:
    """A file of something else is neither read further nor changed."""
    path = rig.folder / "jobs.state.db"
    path.write_text("not a database, and long enough to be no header of one either " * 20, encoding="utf-8")
    failed = rig.failure("state-file")
    assert failed.code == 4
    assert "damaged" in failed.what


def test_a_state_folder_that_cannot_be_made_ends_69(rig: Rig) -> None:
    """A file stands in its way."""
    (rig.folder / "full").write_text("", encoding="utf-8")
    rig.state = {"url": "sqlite:///full/jobs.state.db", "hash_key": {"file": "k"}}
    assert rig.failure("state-folder").code == 69


def test_a_disk_that_is_too_small_ends_75(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the estimate for the rows that PostgreSQL tells of."""
    usage = shutil.disk_usage(rig.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=30 * 500))
    assert rig.found("state-disk", "ok")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=30 * 500 - 1))
    assert rig.failure("state-disk").code == 75


@pytest.mark.parametrize("late_s", [TOLERANCE_S + 2, -TOLERANCE_S - 2])
def test_a_clock_that_is_wrong_is_a_warning(rig: Rig, late_s: float) -> None:
    """Against both ends, in both directions."""
    rig.late_s = late_s
    warned = rig.found("clock", "warn")
    assert [item.what.split(" is ")[0] for item in warned] == ["PostgreSQL's", "RushDB's"]
    assert all(("ahead of" if late_s > 0 else "behind") in item.what for item in warned)


def test_open_lines_are_a_warning(rig: Rig) -> None:
    """To loopback they do not leave the machine."""
    rig.target = {"tls": "insecure"}
    assert rig.found("target-tls", "warn")
    rig.source = {"tls": "insecure"}
    assert rig.found("source-tls", "ok")


GRAPH: dict[str, list[dict[str, Any]]] = {
    "nodes": [{"label": "Place", "table": "public.job", "column": "place"}],
    "links": [
        {"type": "AT", "source": "Job.place", "target": "Place.name"},
        {"type": "UNDER", "foreign_key": "job_parent"},
        {"type": "LIKE", "source": "Job", "target": "Job", "through": "alike", "properties": ["degree"]},
    ],
}


def make_graph(rig: Rig) -> None:
    """Places, parents, and a table that joins jobs, which the reader may read."""
    rig.execute("ALTER TABLE job ADD place text, ADD parent int CONSTRAINT job_parent REFERENCES job")
    rig.execute("UPDATE job SET place = 'place ' || id % 3, parent = nullif(id / 2, 0)")
    rig.execute("CREATE TABLE alike (a int REFERENCES job, b int REFERENCES job, degree int, PRIMARY KEY (a, b))")
    rig.execute(f"INSERT INTO alike VALUES (1, 2, 3); GRANT SELECT ON alike TO {rig.reader}")
    rig.more = GRAPH


def test_nodes_and_links_are_told_with_their_way_and_nothing_is_written(rig: Rig) -> None:
    """Before the first backfill and after it; with what rows carry, and what is read as pairs."""
    make_graph(rig)
    for _ in range(2):
        result = rig.check()
        assert (result.exit_code, result.failures, result.warnings) == (0, 0, 0)
        told = {item.about: item.what for item in result.findings if item.name in ("node", "link")}
        assert told == {
            "node public.job.place": "column place of public.job: 3 different values, a record each",
            "link Job.AT": "to Place: rows carry place as byovRef_AT; joined as a set",
            "link Job.UNDER": "to Job: rows carry parent as byovRef_UNDER; joined as a set",
            "link Job.LIKE": "to Job: read as pairs from public.alike, with properties: a request a link",
        }
        owners = [item.what for item in result.findings if (item.name, item.about) == ("label-owner", "label Place")]
        rig.backfill()
    assert owners == ["ours: its marker names this state"]


def test_every_mistake_about_links_is_a_failure_at_its_place(rig: Rig) -> None:
    """As a backfill would say, all at once."""
    make_graph(rig)
    rig.execute("CREATE TABLE loose (a int, b int)")
    rig.more = {
        **GRAPH,
        "links": [
            {"type": "A", "source": "Job.plaze", "target": "Place.name"},
            {"type": "B", "foreign_key": "public.job.job_parents"},
            {"type": "C", "source": "Job", "target": "Job", "through": "loose"},
            {"type": "D", "source": "Job", "target": "Job", "through": "alike", "properties": ["degre"]},
            {"type": "E", "source": "Job.id", "target": "Place.name"},
            {"type": "F", "source": "Job.place", "target": "Place.name"},
        ],
    }
    result = rig.check()
    failed = {item.place: item.what for item in result.findings if item.verdict == "fail"}
    assert result.exit_code == 2
    assert failed.keys() == {
        "links[0].source",
        "links[1].foreign_key",
        "links[2].through",
        "links[3].properties",
        "links[4].source",
    }
    assert 'did you mean "place"?' in failed["links[0].source"]
    assert 'did you mean "job_parent"?' in failed["links[1].foreign_key"]


def test_a_table_of_links_that_is_not_there_has_its_place_too(rig: Rig) -> None:
    """The catalogue's refusal is one line."""
    make_graph(rig)
    rig.more = {**GRAPH, "links": [{"type": "C", "source": "Job", "target": "Job", "through": "alikes"}]}
    found = rig.failure("link")
    assert (found.place, found.code) == ("links[0].through", 2)


def test_a_node_of_no_column_is_a_failure_and_links_wait_for_it(rig: Rig) -> None:
    """Told once, with its own place."""
    make_graph(rig)
    rig.more = {**GRAPH, "nodes": [{"label": "Place", "table": "public.job", "column": "palce"}]}
    assert rig.failure("table").place == "nodes[0].column"
    assert rig.found("link", "warn")


@pytest.mark.parametrize(
    ("statement", "about", "fix"),
    [
        ("REVOKE SELECT ON alike FROM {reader}", "link Job.LIKE", "GRANT SELECT ON public.alike"),
        (
            "REVOKE SELECT ON job FROM {reader}; GRANT SELECT (id, title, embedding, place) ON job TO {reader}",
            "link Job.UNDER",
            "GRANT SELECT ON public.job",
        ),
    ],
    ids=["join table", "column"],
)
def test_what_a_link_is_read_from_must_be_readable(rig: Rig, statement: str, about: str, fix: str) -> None:
    """A run would find it out only after all records are written."""
    make_graph(rig)
    rig.execute(statement.format(reader=rig.reader))
    found = rig.failure("link-privilege")
    assert (found.about, found.code, found.fix) == (about, 77, fix)


def test_the_label_of_a_node_may_belong_to_another_state(rig: Rig) -> None:
    """As that of a table."""
    make_graph(rig)
    rig.more = {"nodes": GRAPH["nodes"]}
    rig.backfill()
    rig.state = {"url": "sqlite:///other.db", "hash_key": {"file": "other.key"}}
    rig.table["label"] = "Posting"
    found = rig.failure("label-owner")
    assert (found.about, found.code) == ("label Place", 4)


def test_a_link_that_changed_is_told_as_a_backfill_would(rig: Rig) -> None:
    """Its rows were written with another one."""
    make_graph(rig)
    rig.backfill()
    rig.more = {**GRAPH, "links": GRAPH["links"][1:]}
    found = rig.failure("state-scope")
    assert found.code == 4
    assert found.what.startswith("tables[public.job].links is now")


def test_a_pooler_is_seen(rig: Rig, servers_root: Path) -> None:
    """By the process that answers, which is not the one that was connected to."""
    assert rig.found("source-pooler", "ok")[0].what.startswith("no pooler")
    with pooling(rig.dsn, servers_root) as rig.dsn:
        [found] = rig.found("source-pooler", "ok")
        assert found.what.startswith("through a pooler")
