from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from byov_migrate.config import load_config
from byov_migrate.jobs.demo.model import demo_model
from byov_migrate.jobs.demo.postgres import running_postgres
from byov_migrate.jobs.demo.postings import Filled, create_jobs_schema, fill, generate

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A server whose tables hold 300 postings."""
    folder = Path(tempfile.mkdtemp(prefix="byov-test-"))
    folder.chmod(0o755)
    with running_postgres(folder / "pg") as address:
        create_jobs_schema(address)
        fill(address, postings=300, seed=5)
        yield address
    shutil.rmtree(folder)


def test_what_was_generated_is_what_postgresql_holds(dsn: str) -> None:
    """Arrays, numbers, times, NULL and blanks survive COPY."""
    with psycopg.connect(dsn) as connection:
        stored = connection.execute("select * from job order by id").fetchall()
    for job, row in zip(generate(300, 5).jobs, stored, strict=True):
        assert row == tuple(getattr(job, name) for name in type(job).__slots__)


def test_filling_again_changes_nothing(dsn: str) -> None:
    """A second demo keeps what somebody tried out on the rows of the first."""
    with psycopg.connect(dsn) as connection:
        connection.execute("update job set title = 'Changed by hand' where id = 17")
    create_jobs_schema(dsn)
    assert fill(dsn, postings=10, seed=9) == Filled(postings=300, companies=18, departments=54)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select title from job where id = 17").fetchone() == ("Changed by hand",)


def test_the_example_configuration_fits_the_generated_tables(dsn: str) -> None:
    """A column renamed here and not there would end the demo."""
    config = load_config(CONFIGS / "jobs.toml", {})
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select table_name || '.' || column_name from information_schema.columns").fetchall()
    known = {str(name) for (name,) in found}
    for table in config.tables:
        texts = [column for part in table.embeddings if part.text for column in part.text.columns]
        wanted = {f"{table.name.removeprefix('public.')}.{column}" for column in (*table.columns, *texts)}
        assert wanted <= known


def test_a_search_for_a_night_nurse_finds_nurses() -> None:
    """The demo's one promise to the eye: what is near in meaning comes first, measured with the demo's own model."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(demo_model()), device="cpu", local_files_only=True)
    jobs = generate(120, 1).jobs
    vectors = model.encode([f"{job.title}\n{job.description}"[:1000] for job in jobs], normalize_embeddings=True)
    for query, department in (
        ("night shift nurse, children's ward", "Nursing"),
        ("golang payments", "Software"),
        ("driving a forklift in a warehouse", "Logistics"),
    ):
        scores = vectors @ model.encode(query, normalize_embeddings=True)
        assert jobs[int(scores.argmax())].department == department, query
