"""docs/tutorial.md: its statements and commands are run as they stand, in its order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.migration import COMMAND, Target
from tests.documents import FENCE, read
from tests.models import real_model

PAGE = read("docs/tutorial.md")
STEPS = re.split(r"(?m)^## ", PAGE)[1:]
KEY = "a-key-made-up-for-this"
PLACE = "127.0.0.1:3999"
JOBS = "SELECT id::text, title, location FROM job ORDER BY job.id"
POSTED_BY = "SELECT id::text, company_id::text FROM job"


def step(heading: str) -> str:
    """The section that begins with these words."""
    [found] = [section for section in STEPS if section.startswith(heading)]
    return found


def commands(heading: str) -> list[str]:
    """Lines for the shell; what `export` sets is in the environment already, with this test's own values."""
    blocks = [block for kind, block in FENCE.findall(step(heading)) if kind == "console"]
    return [line for block in blocks for line in block.splitlines() if not line.startswith("export ")]


@dataclass
class Reader:
    """Somebody who follows the page, in a folder of his own."""

    folder: Path
    dsn: str
    url: str = ""
    said: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """His sandbox."""
        return Target(self.url, KEY)

    @property
    def environment(self) -> dict[str, str]:
        """What the page exports."""
        path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
        secrets = {"DATABASE_URL": self.dsn, "RUSHDB_API_KEY": KEY, "BYOV_SANDBOX_API_KEY": KEY}
        return {"PATH": path, "HOME": str(self.folder), "RUSHDB_URL": self.url, **secrets}

    @contextmanager
    def terminal(self, line: str) -> Iterator[None]:
        """A second terminal in which the sandbox runs; its port is one that is free."""
        assert PLACE in line
        process = subprocess.Popen(
            line.replace(PLACE, "127.0.0.1:0").split(),
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        process.stderr.readline()
        self.url = process.stderr.readline().strip()
        try:
            yield
        finally:
            process.terminate()
            process.communicate(timeout=20)

    def follow(self, heading: str) -> None:
        """Run what a step shows: SQL and files first, then the commands."""
        for kind, block in FENCE.findall(step(heading)):
            if kind == "sql":
                with psycopg.connect(self.dsn) as connection:
                    connection.execute(block)
            elif kind == "toml":
                (self.folder / "jobs.toml").write_text(block, encoding="utf-8")
        for line in commands(heading):
            if " sandbox " not in line:
                self.said[line] = self.shell(line)

    def shell(self, line: str) -> str:
        """What a command says that ends 0."""
        done = subprocess.run(
            ["bash", "-ec", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What PostgreSQL holds."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def records(self) -> list[dict[str, Any]]:
        """What the sandbox holds of the postings."""
        return sorted(self.target.records("Job"), key=lambda record: int(record["id"]))

    def links(self) -> set[tuple[str, str]]:
        """Keys at both ends of each link."""
        labels = ("Job", "Company")
        keys = {record["__id"]: record["byovKey"] for label in labels for record in self.target.records(label)}
        answer = self.target.post("/relationships/search", {"where": {"type": "POSTED_BY"}, "limit": 1000, "skip": 0})
        return {(keys[row["sourceId"]], keys[row["targetId"]]) for row in answer["data"]}

    def assert_equal_ends(self) -> None:
        """Rows, links, and nothing of a description."""
        records = self.records()
        held = [(record["byovKey"], record["title"], record["location"]) for record in records]
        assert held == self.rows(JOBS)
        assert self.links() == set(self.rows(POSTED_BY))
        assert {record["description"] for record in records} == {""}
        told = repr(records)
        assert not [text for (text,) in self.rows("SELECT description FROM job") if text[:30] in told]


@pytest.fixture
def reader(database: str, tmp_path: Path) -> Reader:
    """The model is where the page has it."""
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    (tmp_path / "models").mkdir()
    shutil.copytree(real_model(), tmp_path / "models" / "all-MiniLM-L6-v2")
    return Reader(tmp_path, database)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_four_steps_do_what_they_say(reader: Reader) -> None:
    """Each command ends 0; after each step both ends agree; searches find what the page is about."""
    [sandbox] = [line for line in commands("Before") if " sandbox " in line]
    with reader.terminal(sandbox):
        reader.follow("Before")
        reader.follow("Step 1")
        assert not reader.records()
        reader.follow("Step 2")
        assert "10 records" in reader.said["byov-migrate backfill --limit 10"]
        assert len(reader.records()) == 24
        reader.assert_equal_ends()
        reader.follow("Step 3")
        assert reader.said["byov-migrate sync"].startswith("Job: 1 new, 2 changed, 1 deleted; links: ")
        reader.assert_equal_ends()
        reader.follow("Step 4")
        first, children, small, printed = [said for line, said in reader.said.items() if " search " in f"{line} "][:4]
        assert "Backend Engineer" in first.splitlines()[0]
        assert re.search(r"title=(Teacher|.*Nurse)", children.splitlines()[0])
        assert {"Nurse, nights", "Senior Nurse, nights", "Teacher"} >= set(re.findall(r"title=(.*?)  ", small))
        assert printed == ""
        assert '"byovKey"' in reader.said["bash search.sh"]


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """A block in another language would be one that nobody tries; every section with one is followed."""
    assert {kind for kind, _ in FENCE.findall(PAGE)} == {"sql", "toml", "console"}
    shown = [section.partition("\n")[0].split(":")[0] for section in STEPS if FENCE.search(section)]
    assert shown == ["Before", "Step 1", "Step 2", "Step 3", "Step 4"]
