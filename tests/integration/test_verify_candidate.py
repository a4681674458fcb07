"""A second set of vectors against the one in use: numbers that numpy finds too, over vectors that we did not make."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from byov_migrate.errors import ConfigurationError, Interrupted, Refused
from byov_migrate.jobs.reembed import switch
from byov_migrate.jobs.surroundings import Progress
from byov_migrate.jobs.verify import to_report, verify
from byov_migrate.jobs.verify.ranking import Agreement
from byov_migrate.jobs.verify.results import Compared
from tests.acceptance.migration import COMMAND
from tests.reembed_rig import PROMPTS, ROWS, Space, compare, embed_with, embedded, fill, two_models
from tests.sync_rig import SyncRig

TEXTS = ROWS - 5
QUERIES = (
    "a secretive carpenter of harbours",
    "Zinnober 48 with a view",
    "night shift, no lifting",
    "q",
    "0f1e2d3c data team work",
    "the and the and the",
)


@pytest.fixture
def rig(tmp_path: Path, database: str) -> Iterator[SyncRig]:
    """Migrated with `old`."""
    with two_models(tmp_path, database) as made:
        yield made


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """As people write it: blank lines, a byte order mark, another system's line ends."""
    path = tmp_path / "queries.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\n  \n".join(QUERIES).encode())
    return path


def expected(live: Space, candidate: Space, asked: Mapping[str, tuple[Any, Any]], rig: SyncRig) -> Agreement:
    """The same by numpy. asked: the vector of each question in both spaces; a question that is a key is a row."""
    first, overlap, moved, recall = [], [], [], []
    for key, (live_query, query) in asked.items():
        old, new = live.nearest(live_query, without=key), candidate.nearest(query, without=key)
        first.append(old[0] == new[0])
        overlap.append(len(set(old) & set(new)) / 10)
        moved += [abs(old.index(item) - new.index(item)) for item in set(old) & set(new)]
        near = index_search(rig, query, "descriptionAlt", limit=11 if key in live.vectors else 10)
        recall.append(len(set([item for item in near if item != key][:10]) & set(new)) / 10)
    return Agreement(len(asked), float(np.mean(first)), mean(overlap), mean(moved), mean(recall))


def mean(values: Sequence[float]) -> Any:
    """As close as rounding lets it be."""
    return pytest.approx(float(np.mean(values)))


def index_search(rig: SyncRig, query: NDArray[np.float64], name: str, *, limit: int) -> list[str]:
    """Keys that the shared index finds, asked without any of our code."""
    body = {"labels": [rig.label], "propertyName": name, "queryVector": query.tolist(), "sourceType": "external"}
    return [record["byovKey"] for record in rig.post("/ai/search", {**body, "limit": limit, "skip": 0})["data"]]


def as_rows(live: Space, candidate: Space) -> dict[str, tuple[Any, Any]]:
    """Every row that both know, as a question."""
    return {key: (live.vectors[key], candidate.vectors[key]) for key in live.vectors if key in candidate.vectors}


def test_rows_and_queries_are_asked_of_both_and_compared(rig: SyncRig, queries: Path) -> None:
    """Documents with the documents' prompt and queries with theirs; a row is no answer to itself; no difference."""
    fill(rig, model="new")
    result = compare(rig, queries=queries)
    live, candidate = Space.of(rig, "old"), Space.of(rig, "new")
    [found] = result.candidates
    by_query = zip(
        embedded(rig, "old", "", QUERIES), embedded(rig, "new", PROMPTS["query_prompt"], QUERIES), strict=True
    )
    assert found == Compared(
        table="public.job",
        label=rig.label,
        embedding="description",
        live="description",
        live_model="old",
        candidate="descriptionAlt",
        model="new",
        vectors=TEXTS,
        rows=expected(live, candidate, as_rows(live, candidate), rig),
        queries=expected(live, candidate, dict(zip(QUERIES, by_query, strict=True)), rig),
    )
    assert found.rows is not None
    assert found.rows.same_first < 1
    assert (found.rows.recall or 1) < 1  # else it could have been taken from anywhere
    assert (result.exit_code, sum(result.counts.values())) == (0, 0)


def test_the_report_has_the_numbers_and_no_query(rig: SyncRig, queries: Path) -> None:
    """Nor has the log, nor the state."""
    fill(rig, model="new")
    result = compare(rig, queries=queries)
    [told] = to_report(result)["candidates"]
    assert (told["live"], told["candidate"]) == (
        {"property": "description", "model": "old"},
        {"property": "descriptionAlt", "model": "new", "vectors": TEXTS},
    )
    [found] = result.candidates
    assert found.queries is not None
    assert told["queries"] == {
        "asked": len(QUERIES),
        "same_top_1": found.queries.same_first,
        "overlap_at_10": found.queries.overlap,
        "rank_change": found.queries.rank_change,
        "recall_at_10": found.queries.recall,
    }
    assert told["rows"]["asked"] == TEXTS
    assert rig.opened_state().reports.last("verify") == json.loads(json.dumps(to_report(result)))
    written = [json.dumps(to_report(result)), repr(rig.events), repr(result)]
    written += [path.read_bytes().decode("latin-1") for path in rig.folder.glob("jobs.state.db*")]
    assert not [text for text in QUERIES[:3] for place in written if text in place]


def test_without_queries_only_rows_are_asked_and_without_the_option_nothing(rig: SyncRig) -> None:
    """A verify as it was."""
    fill(rig, model="new")
    [found] = compare(rig).candidates
    assert found.rows is not None
    assert (found.rows.asked, found.queries) == (TEXTS, None)
    plain = verify(rig.config(), surroundings=rig.around())
    assert plain.candidates == ()
    assert to_report(plain)["candidates"] == []


def test_after_a_switch_the_older_vectors_are_the_candidate(rig: SyncRig) -> None:
    """What is measured against what is turned round, and the numbers of the two alone are the same."""
    fill(rig, model="new")
    [before] = compare(rig).candidates
    switch(rig.config(), surroundings=rig.around())
    [after] = compare(rig).candidates
    assert (after.live_model, after.model, after.candidate) == ("new", "old", "description")
    assert before.rows is not None
    assert after.rows is not None
    assert (after.rows.same_first, after.rows.overlap, after.rows.rank_change) == pytest.approx(
        (before.rows.same_first, before.rows.overlap, before.rows.rank_change)
    )
    assert after.rows.recall != before.rows.recall


def test_a_large_table_is_asked_by_a_draw_of_its_rows(rig: SyncRig) -> None:
    """Fifty, of which those without a text fall out; the same ones each time."""
    rig.execute("INSERT INTO job (id, body) SELECT n, md5(n::text) FROM generate_series(41, 120) n")
    rig.sync()
    fill(rig, model="new")
    [found] = compare(rig).candidates
    assert found.rows is not None
    assert 45 <= found.rows.asked <= 50
    assert compare(rig).candidates == (found,)


def test_ready_vectors_are_taken_as_they_are(rig: SyncRig, queries: Path) -> None:
    """Those of a column against those of a model, and queries by the model that is named for the column."""
    embed_with(rig, {"vector": "embedding", "model": "old"})
    rig.execute("UPDATE job SET embedding = ARRAY(SELECT sin(id * n * n) FROM generate_series(1, 16) n)::real[]")
    fill(rig)
    result = compare(rig, queries=queries)
    [found] = result.candidates
    live, ready = Space.of(rig, "old"), Space.of_column(rig)
    by_query = {text: (made, made) for text, made in zip(QUERIES, embedded(rig, "old", "", QUERIES), strict=True)}
    assert (found.model, found.vectors) == ("column embedding", ROWS)
    assert found.rows == expected(live, ready, as_rows(live, ready), rig)
    assert found.queries == expected(live, ready, by_query, rig)


def test_ready_vectors_need_a_model_for_queries(rig: SyncRig, queries: Path) -> None:
    """Which is said before hours of reading; rows need none."""
    embed_with(rig, {"vector": "embedding"})
    rig.execute("UPDATE job SET embedding = ARRAY(SELECT sin(id * n * n) FROM generate_series(1, 16) n)::real[]")
    fill(rig)
    read: list[Progress] = []
    around = rig.around(progress=read.append)
    with pytest.raises(ConfigurationError, match="no model is named to embed a query"):
        verify(rig.config(), candidate=True, queries=queries, surroundings=around)
    embed_with(rig, {"vector": "embedding", "model": "new"})
    with pytest.raises(Refused, match="have 16 dimensions and the query's has 24"):
        verify(rig.config(), candidate=True, queries=queries, surroundings=around)
    assert read == []
    [found] = compare(rig).candidates
    assert found.rows is not None
    assert found.rows.asked == TEXTS


def test_it_is_refused_where_there_is_nothing_to_compare(rig: SyncRig) -> None:
    """Before anything is read: no second set, or one that is still being filled; a plain verify goes on as ever."""
    with pytest.raises(Refused, match="no second set of vectors to compare") as refused:
        compare(rig)
    assert (refused.value.exit_code, refused.value.next_step) == (4, "byov-migrate reembed --model NAME")
    assert not list(rig.folder.glob("*.verify"))
    with pytest.raises(Interrupted):
        reembed_until_first_progress(rig)
    with pytest.raises(
        Refused, match=rf"\d+ of {TEXTS} vectors of {rig.label}.description by new are filled"
    ) as refused:
        compare(rig)
    assert (refused.value.exit_code, refused.value.next_step) == (4, "byov-migrate reembed")
    assert verify(rig.config(), surroundings=rig.around()).exit_code == 0


def reembed_until_first_progress(rig: SyncRig) -> None:
    """A re-embedding that is stopped as soon as it tells of itself."""
    from byov_migrate.jobs.reembed import reembed

    around = rig.around()
    stopping = rig.around(stop=around.stop, progress=lambda _: around.stop.set())
    reembed(rig.config(), model="new", surroundings=stopping)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no query"),
        (b"\n  \n\r\n", "holds no query"),
        (b"Zinnober 48 \xff", "is not UTF-8"),
        (b"Zinnober 48\n" * 1001, "holds more than 1,000 queries"),
        (None, "cannot read .*No such file"),
    ],
)
def test_a_file_that_holds_no_queries_is_said_before_anything_is_opened(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    """Without a word of what it holds. There is nothing here that could be opened."""
    path = tmp_path / "asked.txt"
    if content is not None:
        path.write_bytes(content)
    rig = SyncRig(tmp_path, "host=127.0.0.1 port=1", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        compare(rig, queries=path)
    assert "asked.txt" in str(refused.value)
    assert "Zinnober" not in str(refused.value)
    assert refused.value.__cause__ is None or "Zinnober" not in repr(refused.value.__cause__)


def test_as_many_queries_as_are_allowed_are_read(tmp_path: Path) -> None:
    """Blank lines are not counted. What comes next is that there is no state."""
    path = tmp_path / "asked.txt"
    path.write_bytes(b"Zinnober 48\n\n" * 1000)
    rig = SyncRig(tmp_path, "host=127.0.0.1 port=1", "http://127.0.0.1:1")
    with pytest.raises(Refused):
        compare(rig, queries=path)


def test_queries_alone_are_a_mistake(tmp_path: Path) -> None:
    """Nothing would be done with them."""
    rig = SyncRig(tmp_path, "host=127.0.0.1 port=1", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="needs --candidate"):
        verify(rig.config(), queries=tmp_path / "asked.txt", surroundings=rig.around())


def test_a_stop_ends_the_comparison_and_the_next_verify_goes_on(rig: SyncRig, queries: Path) -> None:
    """What was read of both sides is kept."""
    fill(rig, model="new")
    around = rig.around()

    def stop(progress: Progress) -> None:
        if "new against old" in progress.label:
            around.stop.set()

    stopping = rig.around(stop=around.stop, progress=stop)
    with pytest.raises(Interrupted):
        verify(rig.config(), candidate=True, queries=queries, surroundings=stopping)
    assert list(rig.folder.glob("*.verify"))
    [found] = compare(rig, queries=queries).candidates
    assert found.rows is not None
    assert found.rows.asked == TEXTS


def test_the_command_tells_a_line_for_rows_and_one_for_queries(rig: SyncRig, queries: Path) -> None:
    """As installed: numbers on stdout and in the file, and no query anywhere."""
    fill(rig, model="new")
    config = write_config(rig)
    command = [COMMAND, "verify", "--candidate", "--queries", str(queries), "--out", "report.json", "-v", "-c", config]
    environment = {"DSN": rig.dsn, "KEY": rig.key, "PATH": "/usr/bin:/bin", "HOME": str(rig.folder)}
    done = subprocess.run(command, cwd=rig.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_rows, by_queries = done.stdout.splitlines()[-2:]
    assert by_rows.startswith(f"new against old, {TEXTS} rows: same top 1 in ")
    assert by_rows.endswith(f"; all {TEXTS} vectors proved")
    assert by_queries.startswith(f"new against old, {len(QUERIES)} queries: same top 1 in ")
    report = (rig.folder / "report.json").read_text(encoding="utf-8")
    assert json.loads(report)["candidates"][0]["queries"]["asked"] == len(QUERIES)
    assert not [text for text in QUERIES[:3] for place in (done.stdout, done.stderr, report) if text in place]


def write_config(rig: SyncRig) -> str:
    """The rig's configuration as a file."""
    models = "\n".join(
        f"[models.{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
        for name, settings in rig.models.items()
    )
    path = rig.folder / "jobs.toml"
    path.write_text(
        f"""
[source]
dsn = {{ env = "DSN" }}
[target]
url = "{rig.url}"
api_key = {{ env = "KEY" }}
{models}
[[tables]]
name = "public.job"
label = "{rig.label}"
columns = ["id", "title", "pay"]
[[tables.embeddings]]
property = "description"
text = "{{body}}"
model = "old"
""",
        encoding="utf-8",
    )
    return str(path)
