"""`verify --html` as installed, and its page in a real browser: what it shows, asks for, and how it is printed."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.state.comparison import Difference
from tests.acceptance.browser import PROGRAM, Tab, opened_browser, pages_of
from tests.acceptance.migration import VECTOR_TABLE_WITH_TEXT, Migration, make_vector_table
from tests.evidences import made_evidence, made_table
from tests.models import make_tiny_model

pytest.importorskip("matplotlib", reason="the report extra is not installed")
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")

ROWS = 60
FIGURES = "[...document.querySelectorAll('data')].map(one => [one.dataset.path ?? '', one.value, one.textContent])"
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
ROWS_SHOWN = "[...one.rows].map(row => [...row.cells].map(cell => cell.innerText))"
TABLES = f"[...document.querySelectorAll('table')].map(one => {ROWS_SHOWN})"
COLOURS = """[getComputedStyle(document.body).backgroundColor,
              getComputedStyle(document.querySelector('svg text')).fill]"""
EMBEDDED = """
[[tables]]
name = "item"
label = "{label}"
columns = ["id", "name", "price", "made", "tags"]
[[tables.embeddings]]
property = "description"
text = "{name}\\n{note}"
model = "tiny"
[models.tiny]
path = "model"
dtype = "float32"
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One browser for the file; each test loads a page of its own."""
    with opened_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(autouse=True)
def silent(request: pytest.FixtureRequest) -> Iterator[None]:
    """No page of any test complains or asks for anything but itself and the empty icon in it."""
    yield
    if "browser" in request.fixturenames:
        tab: Tab = request.getfixturevalue("browser")
        assert [url for url in tab.requests if not url.startswith(("file:", "data:,"))] == []
        assert tab.complaints == []


def backfilled(migration: Migration, tables: str = VECTOR_TABLE_WITH_TEXT) -> Migration:
    """60 items, moved."""
    make_vector_table(migration.dsn, ROWS, 16)
    migration.write(tables)
    done = migration.run("backfill", "-q")
    assert done.returncode == 0, done
    return migration


def figures(browser: Tab) -> dict[str, tuple[float, str]]:
    """Path in the JSON -> value and what is shown."""
    return {path: (float(value), text) for path, value, text in browser.value(FIGURES) if path}


def at(result: Any, path: str) -> Any:
    """What stands at a path such as tables.0.rows."""
    for step in path.split("."):
        result = result[int(step)] if isinstance(result, list) else result[step]
    return result


@needs_browser
@pytest.mark.slow
def test_every_figure_is_the_one_of_the_result_as_json(migration: Migration, browser: Tab) -> None:
    """A page that rounds, shifts a column or shows the last run would be signed all the same."""
    make_tiny_model(migration.folder / "model")
    backfilled(migration, EMBEDDED)
    migration.target.post("/records/delete", {"labels": [migration.label], "where": {"byovKey": "1"}})
    done = migration.run("verify", "--json", "--html", "report.html")
    assert done.returncode == 5, done
    result = json.loads(done.stdout)
    path = migration.folder / "report.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    browser.open(path)
    shown = figures(browser)
    assert {name: value for name, (value, _) in shown.items()} == {name: at(result, name) for name in shown}
    for name, (value, text) in shown.items():
        read = float(re.sub(r"[,%]", "", text)) / (100 if "%" in text else 1)
        assert read == pytest.approx(value, abs=6e-4), name
    counts = {f"tables.0.counts.{kind}" for kind in result["tables"][0]["counts"]} - {"tables.0.counts.links"}
    assert counts | {"tables.0.rows", "tables.0.records", "tables.0.vectors"} <= shown.keys()
    assert {"tables.0.proofs.0.recall", "tables.0.proofs.0.embedded_again"} <= shown.keys()
    assert browser.value("document.querySelectorAll('svg').length") == 3


@needs_browser
def test_what_left_is_counted_in_rushdb(migration: Migration, browser: Tab) -> None:
    """What the page says of each property is what the records hold, and so is what is said of what stayed."""
    backfilled(migration)
    done = migration.run("verify", "--html", "report.html")
    assert done.returncode == 0, done
    browser.open(migration.folder / "report.html")
    records = list(migration.target.records(migration.label))
    held = [{name for name in record if not name.startswith("__")} for record in records]
    _, sent, stayed, _ = browser.value(TABLES)
    expected = {name: str(sum(name in names for names in held)) for name in set().union(*held)}
    assert {name: count for name, _, count in sent[1:]} == expected
    filled = {name: count for name, _, count, _ in stayed[1:]}
    assert filled == {"description": "0", "descriptionAlt": "0", "embedding": "0", "note": "0"}


def test_text_in_rushdb_that_was_to_stay_is_told_although_verify_left_it_out(migration: Migration) -> None:
    """The page asks by itself: a part that was skipped hides nothing."""
    backfilled(migration)
    body = {"labels": [migration.label], "where": {"byovKey": "1"}, "limit": 1, "skip": 0}
    [record] = migration.target.post("/records/search", body)["data"]
    plain = {name: value for name, value in record.items() if not name.startswith("__")}
    spoiled = {**plain, "byovKey": "100000", "descriptionAlt": "eight words", "note": "more"}
    sent = {"label": migration.label, "data": [spoiled], "options": {"suggestTypes": True}}
    migration.target.post("/records/import/json", sent)
    done = migration.run("verify", "-q", "--skip", "text", "--html", "report.html")
    assert done.stderr.splitlines()[:-1] == []
    page = (migration.folder / "report.html").read_text(encoding="utf-8")
    for name in ("descriptionAlt", "note"):
        assert f"something stands in {name}, which was to stay or to be empty: 1 of {ROWS + 1} records" in page
    assert "eight words" not in page


def test_without_the_extra_it_ends_2_before_anything_is_read(migration: Migration, tmp_path: Path) -> None:
    """The command that installs it is the last line; no state and no server is needed to learn that."""
    migration.write(VECTOR_TABLE_WITH_TEXT)
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None\n", encoding="utf-8")
    done = migration.run("verify", "--html", "report.html", environment={"PYTHONPATH": str(hiding)})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("not installed; pip install 'byov-migrate[report]'")


@needs_browser
def test_hostile_names_are_words_on_the_page(browser: Tab, tmp_path: Path) -> None:
    """Whatever a table, a column, a key or a label is called: nothing runs, nothing is loaded, all of it is read."""
    name = "\"'><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"></style></title>"
    hostile = made_table(table=name, label=name, columns=(name,))
    found = made_evidence(Difference("text", name, name)).found
    found = replace(found, tables=(replace(found.tables[0], table=name, label=name),))
    browser.open(written(tmp_path, name=name, tables=(hostile,), found=found))
    assert browser.value("document.title") == f"Evidence: {name}"
    assert browser.value("document.querySelectorAll('script, img, iframe, object').length") == 0
    assert browser.value("document.body.innerText").count(name) >= 6


@needs_browser
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_has_to_be_pushed_aside_to_be_read(browser: Tab, tmp_path: Path, width: int) -> None:
    """From a phone to a desk the page is as wide as the screen, and so is each of its tables."""
    browser.show(width)
    browser.open(written(tmp_path))
    shown, there = browser.value(WIDTHS)
    assert shown <= there == width
    wide = "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert browser.value(wide) == 0


@needs_browser
def test_a_name_without_end_widens_its_table_alone(browser: Tab, tmp_path: Path) -> None:
    """The rest of the page stays readable beside one name that cannot be broken."""
    name = "x" * 200
    browser.show(360)
    table = made_table(table=name, label=name)
    table = replace(table, embeddings=(replace(table.embeddings[0], property_name=name, model=name),))
    found = made_evidence(Difference("values", name, name)).found
    found = replace(found, tables=(replace(found.tables[0], table=name, label=name),))
    browser.open(written(tmp_path, name=name, tables=(table, replace(table, embeddings=())), found=found))
    shown, there = browser.value(WIDTHS)
    assert shown <= there == 360


@needs_browser
def test_in_the_dark_it_is_dark(browser: Tab, tmp_path: Path) -> None:
    """Paper and pictures follow the reader's setting."""
    seen = []
    for dark in (False, True):
        browser.show(1280, dark=dark)
        browser.open(written(tmp_path))
        seen.append(browser.value(COLOURS))
    assert seen == [["rgb(255, 255, 255)", "rgb(26, 29, 33)"], ["rgb(20, 23, 27)", "rgb(230, 233, 237)"]]


@needs_browser
@pytest.mark.parametrize("differing", [0, 500])
def test_it_is_printed_on_two_pages(browser: Tab, tmp_path: Path, differing: int) -> None:
    """A table with an embedding, also when it went wrong."""
    browser.show(1280, dark=True)
    found = [Difference("missing", f"{number}", "") for number in range(differing)]
    browser.open(written(tmp_path, *found))
    assert 1 <= pages_of(browser.printed()) <= 2


def written(folder: Path, *differences: Difference, **changed: Any) -> Path:
    """A page of made up evidence."""
    from byov_migrate.report.evidence import render

    path = folder / "page.html"
    path.write_text(render(made_evidence(*differences, **changed)), encoding="utf-8")
    return path
