"""docs/searching.md: every line of it that can be run is run, in the order of the document."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from byov_migrate.filters import parse_filter
from byov_migrate.jobs.search.names import conditions
from tests.documents import FENCE, read
from tests.search_rig import SearchRig

BLOCKS = FENCE.findall(read("docs/searching.md"))
QUERY = "night shift nurse"
IN_BERLIN = [parse_filter("location ~ Berlin")]


def blocks(language: str) -> list[str]:
    """The blocks of a language."""
    return [content for kind, content in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def shop(searched: SearchRig) -> SearchRig:
    """Shell, and no other configuration in the folder."""
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("bash or curl is not on this machine")
    (searched.folder / "changed.toml").unlink(missing_ok=True)
    return searched


def test_every_block_is_in_a_language_that_is_run() -> None:
    """A block in another one would be a promise that nobody tries."""
    assert {kind for kind, _ in BLOCKS} == {"console", "python", "javascript"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_line_of_the_command_line_section_finds_something(shop: SearchRig) -> None:
    """As typed, one line after the other; the last prints JSON."""
    lines = blocks("console")[0].splitlines()
    for line in lines:
        done = shop.run("bash", "-ec", line)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout, line
    assert len(json.loads(done.stdout)["hits"]) == 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_printed_calls_find_what_the_search_finds(shop: SearchRig) -> None:
    """The whole block at once."""
    done = shop.run("bash", "-ec", blocks("console")[1])
    assert done.returncode == 0, done.stderr
    *lines, answer = done.stdout.splitlines()
    expected = shop.keys(QUERY, where=IN_BERLIN)
    assert [line.split()[1] for line in lines] == expected
    assert [record["byovKey"] for record in json.loads(answer)["data"]] == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sdks_call_finds_what_the_search_finds(shop: SearchRig) -> None:
    """With vectors made in the same process."""
    (shop.folder / "application.py").write_text(blocks("python")[0], encoding="utf-8")
    done = shop.run("python", "application.py")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == shop.keys(QUERY, where=IN_BERLIN)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_rest_call_and_fetch_find_what_the_search_finds(shop: SearchRig) -> None:
    """The vector comes from `embed`."""
    done = shop.run("bash", "-ec", blocks("console")[2])
    assert done.returncode == 0, done.stderr
    expected = shop.keys(QUERY, where=IN_BERLIN)
    assert [record["byovKey"] for record in json.loads(done.stdout)["data"]] == expected
    if shutil.which("node") is None:
        pytest.skip("node is not on this machine, so the JavaScript was not run")
    (shop.folder / "application.mjs").write_text(blocks("javascript")[0], encoding="utf-8")
    done = shop.run("node", "application.mjs")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == expected


def test_each_filter_is_what_the_document_says(searched: SearchRig) -> None:
    """The table of the two ways of writing a filter."""
    rows = re.findall(r"(?m)^\| `([^`]+)` \| `(\{[^`]+\})` \|$", read("docs/searching.md"))
    assert len(rows) == 7
    config = searched.config()
    for written, document in rows:
        assert conditions(config, config.tables[0], [parse_filter(written)]) == json.loads(document), written


def test_all_blocks_are_run() -> None:
    """One more block needs one more test."""
    assert [len(blocks(kind)) for kind in ("console", "python", "javascript")] == [3, 1, 1]
