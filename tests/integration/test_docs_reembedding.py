"""docs/operations.md, a better model: its commands are run as they stand, in their order, by the installed program."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from byov_migrate import sandbox
from scripts.config_schema import section_of
from tests.documents import FENCE, read
from tests.models import make_tiny_model
from tests.search_rig import KEY, SearchRig

ROWS = 30
TABLE = f"""
CREATE TABLE job (id int PRIMARY KEY, title text, description text);
INSERT INTO job SELECT n, 'posting ' || n, md5(n::text) FROM generate_series(1, {ROWS}) n;
"""
CONFIGURATION = """
[source]
dsn = { env = "DATABASE_URL" }

[target]
url = { env = "RUSHDB_URL" }
api_key = { env = "RUSHDB_API_KEY" }

[models.jobs-v1]
path = "models/jobs-v1"

[[tables]]
name = "public.job"
label = "Job"
columns = ["id", "title"]

[[tables.embeddings]]
property = "description"
text = "{title} {description}"
model = "jobs-v1"
"""
PAGE = section_of(read("docs/operations.md"), "A better model")
EDITED = "The model, a prompt or the text was edited"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language, in order."""
    return [content for kind, content in FENCE.findall(page) if kind == language]


MODEL, _, EDIT = PAGE.partition(f"### {EDITED}")


@dataclass
class Operator:
    """Somebody who follows the recipe, in a folder of his own."""

    rig: SearchRig

    @property
    def file(self) -> Path:
        """His configuration."""
        return self.rig.folder / "jobs.toml"

    def edit(self, old: str, new: str) -> None:
        """Change a line of it."""
        text = self.file.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line as typed, without a terminal to ask."""
        return self.rig.run("bash", "-ec", line)

    def follow(self, block: str) -> list[str]:
        """Run the lines of a block, which all end 0; what each said."""
        said: list[str] = []
        for line in block.splitlines():
            done = self.shell(line)
            assert done.returncode == 0, (line, done.stderr)
            said.append(done.stdout)
        return said

    def carriers(self) -> list[str]:
        """The properties that RushDB has an index on."""
        headers = {"authorization": f"Bearer {self.rig.key}"}
        answer = httpx.get(f"{self.rig.url}/api/v1/ai/indexes", headers=headers, trust_env=False)
        answer.raise_for_status()
        return sorted(index["propertyName"] for index in answer.json()["data"])

    def records(self) -> dict[str, dict[str, object]]:
        """What RushDB holds of each posting."""
        answer = self.rig.post("/records/search", {"labels": ["Job"], "where": {}, "limit": 1000, "skip": 0})
        return {record["byovKey"]: record for record in answer["data"]}


@pytest.fixture
def operator(tmp_path: Path, database: str) -> Iterator[Operator]:
    """Thirty postings, migrated with jobs-v1; jobs-v2 lies beside it, and the queries in a file."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
    for seed, name in enumerate(("jobs-v1", "jobs-v2")):
        make_tiny_model(tmp_path / "models" / name, dimension=16 + 8 * seed, seed=seed)
    (tmp_path / "jobs.toml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "queries.txt").write_text("night shift nurse\nsenior backend engineer\n", encoding="utf-8")
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        made = Operator(SearchRig(tmp_path, database, target.url))
        assert made.shell("byov-migrate backfill").returncode == 0
        yield made


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recipe_of_a_better_model_leads_where_it_says(operator: Operator) -> None:
    """Filled, compared, switched to, back, and dropped; no record is written by any of it."""
    fill, compare, turn, back, ask, script = blocks(MODEL, "console")
    [section] = [block for block in blocks(MODEL, "") if block.startswith("[models.")]
    before = operator.records()
    operator.edit("\n[[tables]]\n", f"\n{section}\n[[tables]]\n")

    assert f"Job.descriptionAlt: {ROWS} vectors by jobs-v2" in operator.follow(fill)[-1]
    proof, old, new = operator.follow(compare)
    assert re.findall(r"(?m)^jobs-v2 against jobs-v1, (\d+ \w+): same top 1", proof) == [f"{ROWS} rows", "2 queries"]
    assert old != new
    assert 'propertyName "descriptionAlt"' in operator.follow(turn)[0]
    assert operator.follow(compare.splitlines()[1]) == [new]
    operator.follow(back)
    assert operator.follow(compare.splitlines()[1]) == [old]
    operator.follow(turn.splitlines()[0])

    refused = operator.shell(script.splitlines()[0])
    assert refused.returncode == 4, "the configuration still makes the vectors that would go"
    operator.edit('model = "jobs-v1"', 'model = "jobs-v2"')
    asked = operator.shell(ask)
    assert (asked.returncode, operator.carriers()) == (6, ["description", "descriptionAlt"])
    operator.follow(script)
    operator.edit('[models.jobs-v1]\npath = "models/jobs-v1"\n', "")
    assert operator.carriers() == ["descriptionAlt"]
    assert operator.follow("byov-migrate sync --full\nbyov-migrate verify\n" + compare.splitlines()[1])[-1] == new
    assert operator.records() == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recipe_of_an_edited_text_leads_where_it_says(operator: Operator) -> None:
    """The refusal begins as it is shown; the configuration stays as it was edited, from the first line to the last."""
    shown, fill, finish = blocks(EDIT, "")[0], *blocks(EDIT, "console")
    operator.edit('text = "{title} {description}"', 'text = "{description}"')
    refused = operator.shell("byov-migrate sync -q")
    assert refused.returncode == 4
    assert refused.stderr.startswith(shown.rstrip("\n"))
    assert "; byov-migrate reembed, " in refused.stderr

    operator.follow(fill)
    with psycopg.connect(operator.rig.dsn, autocommit=True) as connection:
        connection.execute("UPDATE job SET description = md5(title) WHERE id < 4")
    operator.follow("byov-migrate sync\n" + finish)
    assert operator.carriers() == ["descriptionAlt"]
    operator.follow("byov-migrate sync --full\nbyov-migrate verify")


def test_all_blocks_of_the_recipe_are_run() -> None:
    """One more needs one more line in a test above."""
    assert (len(blocks(MODEL, "console")), len(blocks(EDIT, "console"))) == (6, 2)
