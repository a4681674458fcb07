"""Searches as an application would send them: run as they are printed, they find what the search finds."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any, get_args

import pytest

from byov_migrate.errors import ConfigurationError
from byov_migrate.filters import parse_filter
from byov_migrate.jobs.search import Language, print_call
from tests.search_rig import KEY, SearchRig

TEXT = "work in the team c"
PROGRAMS = {"curl": ("bash", "curl"), "python": ("python",), "javascript": ("node",)}
ODD = 'Company.name = "O\'Neill & \\"Sons\\""'
SEARCHES: dict[str, dict[str, Any]] = {
    "by the index": {"text": TEXT, "limit": 5},
    "exact": {"text": TEXT, "exact": True, "skip": 3, "limit": 4},
    "across a link, with quotes": {"text": TEXT, "where": [parse_filter(ODD)]},
    "of several kinds": {
        "text": TEXT,
        "where": [parse_filter("location ~ Bonn"), parse_filter("agency_id is not null"), parse_filter("id > 3")],
    },
    "like a row": {"like": "12", "limit": 5},
    "like a picture": {"like": "12", "embedding": "picture", "limit": 5, "where": [parse_filter("location = Köln")]},
    "of another embedding": {"text": TEXT, "embedding": "titleOnly"},
}


def keys_printed(language: str, out: str) -> list[str]:
    """What a program that was run says it found."""
    if language == "curl":
        return [record["byovKey"] for record in json.loads(out)["data"]]
    return [line.split()[1] for line in out.splitlines()]


@pytest.mark.parametrize("asked", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("language", get_args(Language))
def test_a_printed_call_finds_what_the_search_finds(searched: SearchRig, language: Any, asked: dict[str, Any]) -> None:
    """Pasted into a file and run, with the key in the environment."""
    program, *needed = PROGRAMS[language]
    for name in (program, *needed):
        if shutil.which(name) is None and name != "python":
            pytest.skip(f"{name} is not on this machine")
    code = print_call(searched.config(), language, surroundings=searched.around(), **asked).code
    assert KEY not in code
    file = searched.folder / ("call.mjs" if language == "javascript" else "call")
    file.write_text(code, encoding="utf-8")
    done = searched.run(program, file.name)
    assert (done.returncode, done.stderr) == (0, "")
    expected = searched.keys(**asked)
    assert expected
    assert keys_printed(language, done.stdout) == expected


@pytest.mark.parametrize("asked", [{"text": TEXT}, {"like": "12"}], ids=["text", "like"])
def test_nothing_is_sent_and_no_key_is_needed(searched: SearchRig, asked: dict[str, Any]) -> None:
    """Nobody listens where the call would go, and the key is nowhere."""
    without = {"DATABASE_URL": searched.dsn, "RUSHDB_URL": "http://127.0.0.1:9"}
    around = searched.around()
    config = searched.config(('{ env = "RUSHDB_URL" }', '"http://127.0.0.1:9"'))
    for name in list(around.environment):
        if name not in without:
            del around.environment[name]  # type: ignore[attr-defined]  # the test's own dictionary
    call = print_call(config, "curl", surroundings=around, **asked)
    assert "http://127.0.0.1:9/api/v1/ai/search" in call.code


@pytest.mark.slow
def test_the_command_prints_the_code_alone(searched: SearchRig) -> None:
    """So that it can be piped into a file; the vector is whole, and nobody is told the key."""
    done = searched.run("byov-migrate", "search", TEXT, "--print-request", "python", "-c", "jobs.toml")
    assert (done.returncode, done.stderr) == (0, "")
    compile(done.stdout, "call.py", "exec")
    found = re.search(r"'queryVector': \[([^\]]*)\]", done.stdout)
    assert found is not None
    assert len(found[1].split(",")) == 32
    assert KEY not in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--print-request", "cobol"], "curl, python, javascript"),
        (["--print-request", "curl", "--explain"], "sends nothing"),
        (["--print-request", "curl", "--show", "title"], "sends nothing"),
        (["--like", "12"], "either TEXT or --like KEY"),
    ],
)
def test_options_that_do_not_fit_end_2(searched: SearchRig, options: list[str], words: str) -> None:
    """Before a model is loaded."""
    done = searched.run("byov-migrate", "search", TEXT, *options, "-c", "jobs.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_another_language_is_refused(searched: SearchRig) -> None:
    """For programs that call the function."""
    language: Any = "cobol"
    with pytest.raises(ConfigurationError, match="curl, python, javascript"):
        print_call(searched.config(), language, TEXT, surroundings=searched.around())


@pytest.mark.slow
def test_the_command_shows_columns_and_explains(searched: SearchRig) -> None:
    """Hits, text and columns on stdout; how they came about behind them."""
    done = searched.run(
        *("byov-migrate", "search", TEXT, "--where", "Agency.headCount > 10", "--show", "secret, agency_id"),
        *("--explain", "--limit", "3", "-c", "jobs.toml"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("secret: for the owner alone") == 3
    assert done.stdout.count("agency_id: 2") == 3
    assert re.search(r"(?m)^way        exact \(--where\)$", done.stdout)
    assert re.search(r"(?m)^candidates \d+ records with a vector compared, 32 dimensions$", done.stdout)
    assert re.search(r"(?m)^seconds    [\d.]+ embedding, [\d.]+ loading the model, [\d.]+ asking RushDB", done.stdout)


def test_the_result_as_json_has_all_of_it(searched: SearchRig) -> None:
    """For programs that run the command."""
    done = searched.run(
        *("byov-migrate", "search", "--like", "12", "--embedding", "picture", "--show", "secret", "--explain"),
        *("--limit", "2", "--json", "-c", "jobs.toml"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [hit["key"] for hit in result["hits"]] == searched.keys(like="12", embedding="picture", limit=2)
    assert all(hit["shown"] == {"secret": "for the owner alone"} for hit in result["hits"])
    assert result["explanation"]["way"] == "exact"
    assert set(result["explanation"]["seconds"]) == {"loading", "embedding", "asking", "reading"}


@pytest.mark.slow
def test_embed_takes_the_embedding_and_refuses_the_wrong_model(searched: SearchRig) -> None:
    """As `QueryEncoder` does, with the exit code of a refusal."""
    done = searched.run("byov-migrate", "embed", TEXT, "--embedding", "titleOnly", "-c", "jobs.toml")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 48)
    searched.config(('model = "other"', 'model = "small"'))
    done = searched.run("byov-migrate", "embed", TEXT, "--embedding", "titleOnly", "-c", "changed.toml")
    assert (done.returncode, done.stdout) == (4, "")
    assert "is not the one that made the stored vectors of Job.titleOnly" in done.stderr
