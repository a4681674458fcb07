"""The demo by the installed command: records and links counted against SQL, and every command that it prints."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from byov_migrate.jobs.demo.run import demo_servers
from byov_migrate.jobs.surroundings import Surroundings
from tests.acceptance.migration import COMMAND, Target

POSTINGS = 60
ENTRIES = {
    "Job": "SELECT id::text FROM job",
    "Company": "SELECT id::text FROM company",
    "Department": "SELECT id::text FROM department",
    "Skill": "SELECT DISTINCT unnest(skills) FROM job",
}
LINKS = {
    "POSTED_BY": ("Job", "Company", "SELECT id::text, company_id::text FROM job"),
    "IN_DEPARTMENT": ("Job", "Department", "SELECT id::text, department_id::text FROM job"),
    "PART_OF": ("Department", "Company", "SELECT id::text, company_id::text FROM department"),
    "REQUIRES": ("Job", "Skill", "SELECT DISTINCT id::text, unnest(skills) FROM job"),
}
ACROSS = "SELECT job.id::text FROM job JOIN company ON company.id = company_id WHERE employees >= 200"


@dataclass(frozen=True)
class Ran:
    """A demo that has ended, and what it printed."""

    folder: Path
    lines: list[str]

    @property
    def commands(self) -> list[str]:
        """Those that it proposes."""
        start = self.lines.index("Next, each works as it stands:") + 1
        return [line.strip() for line in self.lines[start:]]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that ends 0, with none of our variables."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that PostgreSQL may enter as another user, with a blank in its name."""
    folder = Path(tempfile.mkdtemp(prefix="byov test "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ran(home: Path) -> Ran:
    """A small demo."""
    done = run(COMMAND, "demo", "--folder", str(home / "demo"), "--postings", str(POSTINGS), cwd=home)
    return Ran(home / "demo", done.stdout.splitlines())


@pytest.fixture
def ends(ran: Ran) -> Iterator[tuple[psycopg.Connection, Target]]:
    """Both ends of the demo, their servers started again for one test: a command would find the port taken."""
    with demo_servers(ran.folder, Surroundings()) as config:
        key = (ran.folder / "rushdb.key").read_text(encoding="utf-8")
        with psycopg.connect((ran.folder / "dsn").read_text(encoding="utf-8")) as connection:
            yield connection, Target(config.target.base_url, key)


def rows(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    """What SQL says."""
    return connection.execute(query.encode()).fetchall()


def links_of(target: Target, kind: str) -> list[tuple[str, str]]:
    """Record ids at both ends of every link of a type."""
    answer = target.post("/relationships/search", {"where": {"type": kind}, "limit": 1000, "skip": 0})
    assert answer["total"] <= 1000
    return [(row["sourceId"], row["targetId"]) for row in answer["data"]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_row_and_every_skill_is_a_record(ends: tuple[psycopg.Connection, Target]) -> None:
    """Tables by their keys, skills by their words."""
    connection, target = ends
    for label, query in ENTRIES.items():
        expected = sorted(key for (key,) in rows(connection, query))
        assert sorted(record["byovKey"] for record in target.records(label)) == expected, label


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_link_is_one_that_sql_finds_and_none_is_missing(ends: tuple[psycopg.Connection, Target]) -> None:
    """Pair by pair, each once."""
    connection, target = ends
    keys = {label: {record["__id"]: record["byovKey"] for record in target.records(label)} for label in ENTRIES}
    for kind, (source, leads_to, query) in LINKS.items():
        there = sorted((keys[source][one], keys[leads_to][other]) for one, other in links_of(target, kind))
        assert there == sorted(rows(connection, query)), kind
        assert there, kind


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_figures_that_it_prints_are_those_of_sql(ran: Ran, ends: tuple[psycopg.Connection, Target]) -> None:
    """Records by label, links by type, and that it was proved."""
    connection, _ = ends
    records = {label: len(rows(connection, query)) for label, query in ENTRIES.items()}
    links = {kind: len(rows(connection, query)) for kind, (_, _, query) in LINKS.items()}
    assert "  records  " + "  ".join(f"{count:,} {label}" for label, count in records.items()) in ran.lines
    assert "  links    " + "  ".join(f"{count:,} {kind}" for kind, count in links.items()) in ran.lines
    proved = f"{sum(records.values()):,} rows, {POSTINGS:,} vectors, {sum(links.values()):,} links"
    assert any(line.startswith(f"Verified: {proved};") for line in ran.lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_search_across_a_link_finds_postings_of_large_companies_alone(
    ran: Ran, ends: tuple[psycopg.Connection, Target]
) -> None:
    """The condition stands on the company's record; no posting holds it."""
    connection, _ = ends
    start = ran.lines.index('Searching "golang payments" where Company.employees >= 200')
    hits = [line.split()[1] for line in ran.lines[start:] if line.startswith("0.")]
    large = {key for (key,) in rows(connection, ACROSS)}
    assert len(hits) == 3
    assert set(hits) <= large
    assert len(large) < POSTINGS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_that_it_prints_works_as_printed(ran: Ran, home: Path) -> None:
    """After the demo has ended, by way of a shell; searches find something."""
    assert len(ran.commands) >= 4
    for line in ran.commands:
        done = run("bash", "-ec", line, cwd=home)
        assert done.stdout, line
        if "search" in shlex.split(line):
            assert done.stdout.startswith("0."), line


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_demo_finds_everything_done(ran: Ran, home: Path) -> None:
    """No text is embedded and no link made again."""
    done = run(COMMAND, "demo", "--folder", str(ran.folder), "--json", cwd=home)
    result = json.loads(done.stdout)
    assert [table["this_run"]["rows"] for table in result["backfill"]["tables"]] == [0, 0, 0, 0]
    assert [link["made"] for link in result["backfill"]["links"]] == [0, 0, 0, 0]
    assert [link["dangling"] for link in result["backfill"]["links"]] == [0, 0, 0, 0]
    assert [len(asked["result"]["hits"]) for asked in result["searches"]] == [3, 3]
