"""What is withheld stays: canary words in the text column appear nowhere but in PostgreSQL; nor do secrets anywhere."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest

from tests.acceptance.canaries import API_KEY, CANARY, HASH_KEY, KEY, PASSWORD, TEXT, WORD, Heard, Hunt, found_in
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


def fill(dsn: str, words: list[str]) -> None:
    """Table `job`: five canaries in the text of each row, none anywhere else."""
    with psycopg.connect(dsn) as connection:
        connection.execute("create table job (id int primary key, title text, description text)")
        for number in range(ROWS):
            text = " ".join(["some description", *words[5 * number : 5 * number + 5]])
            connection.execute("insert into job values (%s, %s, %s)", (number, f"title {number}", text))


def written_files(folder: Path) -> bytes:
    """Everything the run left in its folder but what the test put there."""
    own = {"dsn", "key", "job.toml"}
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in own)


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
    stored = written_files(migration.folder)
    records = repr(list(migration.target.records(migration.label))).encode()
    secrets = [migration.target.key, PASSWORD]

    assert [run.returncode for run in runs] == [0] * len(runs), [run.stderr for run in runs]
    assert len(sent) > ROWS * 32 * 8  # the vectors did pass through the recorder
    assert found_in(sent, words) == []
    assert found_in(output, words) == []
    assert found_in(stored, words) == []
    assert found_in(records, words) == []
    assert found_in(output + stored, secrets) == []


MARKED = 'a/b+c "d" %~q'
WAYS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "capitals": lambda word: word.upper().encode(),
    "small-letters": lambda word: word.lower().encode(),
    "url": lambda word: quote(word).encode(),
    "url-small": lambda word: quote(word, safe="").lower().encode(),
    "form": lambda word: quote_plus(word).encode(),
    "json": lambda word: json.dumps({"a": [word]}).encode(),
    "json-slashes": lambda word: json.dumps(word).replace("/", r"\/").encode(),
    "hexadecimal": lambda word: word.encode().hex().encode(),
    **{
        f"base64-{n}": partial(lambda n, word: base64.b64encode(b"x" * n + word.encode() + b"end"), n) for n in range(3)
    },
    "base64-url": lambda word: base64.urlsafe_b64encode(b"??" + word.encode() + b">>"),
    "gzip": lambda word: b"body " + gzip.compress(b'{"a": "' + word.encode() + b'"}'),
    "gzip-cut": lambda word: gzip.compress(word.encode() + random.Random(1).randbytes(9000))[:4000],  # noqa: S311
}


@pytest.mark.parametrize("way", WAYS)
def test_the_hunt_finds_what_was_written_said_or_sent(way: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A word that does leak is found in whatever encoding, in files, in both outputs and in what was sent."""
    folder = tmp_path_factory.mktemp("leaky")  # outside of what is searched after this test
    found = Hunt(folder, {"a word": MARKED, "another": "that does not occur"})
    content = b"before " + WAYS[way](MARKED) + b" after"
    (folder / "deep").mkdir()
    (folder / "deep" / "job.state.db-wal").write_bytes(content)
    found.heard += [Heard(["byov-migrate", "backfill", "-q"], content, b""), Heard(["byov-migrate"], b"", content)]

    assert found.leaks([b"nothing", content]) == [
        "a word in what was sent",
        "a word in stdout of backfill -q",
        "a word in stderr of ",
        "a word in deep/job.state.db-wal",
    ]


def test_the_hunt_exempts_only_what_has_to_hold_something(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Secrets stand in their own files and the key in its header, local text in a search's output; nowhere else."""
    folder = tmp_path_factory.mktemp("honest")
    wanted = {TEXT: CANARY, KEY: API_KEY, WORD: PASSWORD}
    hash_key = "0123456789abcdef" * 4
    for name, content in {"dsn": PASSWORD, "key": API_KEY, "job.hash-key": hash_key}.items():
        (folder / name).write_text(content)
    search, backfill = ["byov-migrate", "search", "x"], ["byov-migrate", "backfill", "-q"]
    header = f"POST / HTTP/1.1\r\nAuthorization: Bearer {API_KEY}\r\n\r\n".encode()
    honest = Hunt(folder, wanted, [Heard(search, CANARY.encode(), b"")])
    assert honest.leaks([header]) == []

    (folder / "dsn").write_text(API_KEY)
    (folder / "log").write_bytes(base64.b64encode(bytes.fromhex(hash_key)))
    heard = [Heard(search, PASSWORD.encode(), CANARY.encode()), Heard(backfill, CANARY.encode(), hash_key.encode())]
    leaky = Hunt(folder, wanted, heard)
    assert leaky.leaks([header + API_KEY.encode()]) == [
        f"{KEY} in what was sent",
        f"{WORD} in stdout of search x",
        f"{TEXT} in stderr of search x",
        f"{TEXT} in stdout of backfill -q",
        f"{KEY} in dsn",
        f"{HASH_KEY} in log",
        f"{HASH_KEY} in what was sent or said",
    ]


def test_whatever_text_is_withheld_has_a_canary_in_it(migration: Migration) -> None:
    """A hunt for words that are not there proves nothing: texts that are embedded and not sent get one, others none."""
    with psycopg.connect(migration.dsn) as connection:
        connection.execute("create table job (id text primary key, title text, description text, other text)")
        connection.execute("insert into job values ('a', 'title', 'about it', 'x'), ('b', 'title', ' ', 'x')")
    for _ in range(2):
        migration.write(TABLE)
    with psycopg.connect(migration.dsn) as connection:
        rows = connection.execute("select * from job order by id").fetchall()
    assert rows == [("a", "title", f"{CANARY} about it {CANARY}", "x"), ("b", "title", " ", "x")]
