"""What is withheld stays: canary words in the text column appear nowhere but in PostgreSQL."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.acceptance.migration import Migration
from tests.acceptance.recorder import recording
from tests.models import make_tiny_model

CANARIES = 500
ROWS = 100

TABLE = """
[models.tiny]
path = "model"
[[tables]]
name = "job"
label = "{label}"
columns = ["id", "title"]
[[tables.embeddings]]
property = "description"
text = "{title}\\n{description}"
model = "tiny"
"""


def canary_words() -> list[str]:
    """Words that occur nowhere by chance."""
    dice = random.Random(11)  # noqa: S311 - no secret
    return ["zq" + "".join(dice.choices(string.ascii_lowercase, k=10)) for _ in range(CANARIES)]


def encodings(word: str) -> Iterable[bytes]:
    """A word as it could travel: raw, in JSON and URLs, and in base64 at each of the three alignments."""
    raw = word.encode()
    yield from (raw, raw.upper(), quote(word).encode(), "".join(f"\\u{ord(letter):04x}" for letter in word).encode())
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : -4]  # without the characters that depend on the neighbours


def found_in(content: bytes, words: Iterable[str]) -> list[str]:
    """The words that occur in some content, however encoded."""
    return [word for word in words if any(code in content for code in encodings(word))]


def fill(dsn: str, words: list[str]) -> None:
    """Table `job`: five canaries in the text of each row, none anywhere else."""
    with psycopg.connect(dsn) as connection:
        connection.execute("create table job (id int primary key, title text, description text)")
        for number in range(ROWS):
            text = " ".join(["some description", *words[5 * number : 5 * number + 5]])
            connection.execute("insert into job values (%s, %s, %s)", (number, f"title {number}", text))


def written_files(folder: Path, model: Path) -> bytes:
    """Everything the run left in its folder but the model and what the test put there."""
    own = {"dsn", "key", "job.toml"}
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(model)]
    return b"\n".join(path.read_bytes() for path in files if path.name not in own)


@pytest.mark.timeout(600)
def test_no_canary_leaves_or_is_stored(migration: Migration) -> None:
    """500 canaries in the withheld column: none in requests, output, logs or state, however encoded; nor secrets."""
    words = canary_words()
    fill(migration.dsn, words)
    make_tiny_model(migration.folder / "model")
    with recording(migration.target.url) as record:
        migration.write(TABLE, url=record.url)
        runs = [
            migration.run("plan", "-v"),
            migration.run("backfill", "-v", "--log-format", "json"),
            migration.run("backfill", "-v", "--json"),
            migration.run("search", "title 5", "-v", "--limit", "3", "--json"),
            migration.run("status", "--json"),
            migration.run("show", "5"),
        ]
        sent = record.everything
    output = "\n".join(run.stdout + run.stderr for run in runs if "search" not in run.args).encode()
    stored = written_files(migration.folder, migration.folder / "model")
    records = repr(list(migration.target.records(migration.label))).encode()
    secrets = [migration.target.key, psycopg.conninfo.conninfo_to_dict(migration.dsn)["password"]]

    assert [run.returncode for run in runs] == [0] * len(runs), [run.stderr for run in runs]
    assert len(sent) > ROWS * 32 * 8  # the vectors did pass through the recorder
    assert found_in(sent, words) == []
    assert found_in(output, words) == []
    assert found_in(stored, words) == []
    assert found_in(records, words) == []
    assert found_in(output + stored, [str(secret) for secret in secrets]) == []


def test_the_hunt_finds_what_is_there() -> None:
    """The search itself works: a word is found raw, in JSON escapes, in a URL, and in base64 at each alignment."""
    word = canary_words()[0]
    for shift in range(3):
        assert found_in(base64.b64encode(b"x" * shift + b"... " + word.encode() + b" end"), [word]) == [word]
    assert found_in(f'{{"a": "{word}"}}'.encode(), [word]) == [word]
    assert found_in(word.upper().encode(), [word]) == [word]
    assert found_in(b"nothing here", [word]) == []
