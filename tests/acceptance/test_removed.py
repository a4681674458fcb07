"""A migration taken back by the installed command: asked, killed, run again; others keep what is theirs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.migration import COMMAND, VECTOR_TABLE, Migration, Process, compare_items, make_vector_table
from tests.acceptance.test_fault_points import with_fault

ROWS = int(os.environ.get("BYOV_TEST_REMOVE_ROWS", "2300"))
KILLS = int(os.environ.get("BYOV_TEST_REMOVE_KILLS", "3"))
SEED = int(os.environ.get("BYOV_TEST_REMOVE_SEED", "3"))
OTHERS = 12
SETTINGS = 'batch_rows = 200\nwriters = 2\ngive_up_after = "20s"'


@pytest.fixture
def shared(migration: Migration) -> Iterator[Migration]:
    """A migration into a label where an application has records of its own."""
    rows = [{"name": f"of an application {number}", "id": number, "tags": ["a"]} for number in range(OTHERS)]
    options = {"suggestTypes": True, "returnResult": True}
    migration.target.post("/records/import/json", {"label": migration.label, "data": rows, "options": options})
    yield migration
    discard_others(migration)


def others(migration: Migration) -> list[dict[str, Any]]:
    """Records of the label without byovKey, as they are."""
    return [record for record in migration.target.records(migration.label) if "byovKey" not in record]


def discard_others(migration: Migration) -> None:
    """Delete them, by id."""
    ids = [record["__id"] for record in others(migration)]
    if ids:
        body = {"labels": [migration.label], "where": {"$id": {"$in": ids}}}
        migration.target.post("/records/delete", body)


def ours(migration: Migration) -> int:
    """Records of the label with byovKey, and markers of it."""
    found = [record for record in migration.target.records(migration.label) if "byovKey" in record]
    body = {"labels": ["ByovMigration"], "where": {"byovKey": migration.label}, "limit": 1}
    return len(found) + int(migration.target.post("/records/search", body)["total"])


def index_names(migration: Migration) -> list[str]:
    """Properties of the label that have an index."""
    with httpx.Client(trust_env=False) as client:
        headers = {"authorization": f"Bearer {migration.target.key}"}
        rows = client.get(f"{migration.target.url}/api/v1/ai/indexes", headers=headers).json()["data"]
    return [row["propertyName"] for row in rows if row["label"] == migration.label]


def test_a_script_says_yes_and_gets_the_counts_of_the_target(shared: Migration) -> None:
    """Without a yes exit 6, with another label exit 2, and nothing is deleted; then all of ours is."""
    make_vector_table(shared.dsn, 120, 8)
    shared.write(VECTOR_TABLE)
    assert shared.run("backfill").returncode == 0
    before = others(shared)

    unasked, wrong = shared.run("remove"), shared.run("remove", "--yes", "Another")
    assert (unasked.returncode, wrong.returncode, ours(shared)) == (6, 2, 121)
    assert "120 records of this state" in unasked.stderr
    assert f"if meant: byov-migrate remove --yes {shared.label}" in unasked.stderr.splitlines()[-1]

    done = shared.run("remove", "--yes", shared.label)
    assert done.returncode == 0, done.stderr
    said = f"{shared.label}: 0 ours, {OTHERS} others untouched; 120 deleted; index on description deleted\n"
    assert done.stdout == said
    assert (ours(shared), others(shared), index_names(shared)) == (0, before, [])

    again = shared.run("remove", "--json")
    assert json.loads(again.stdout)["tables"][0]["deleted"] == 0


@pytest.mark.parametrize(("typed", "code", "left"), [("{label}\n", 0, 0), ("job\n", 2, 31), ("\x04", 6, 31)])
def test_a_person_types_the_label_back(shared: Migration, typed: str, code: int, left: int) -> None:
    """On a terminal; the end of input is no yes."""
    make_vector_table(shared.dsn, 30, 8)
    shared.write(VECTOR_TABLE)
    assert shared.run("backfill").returncode == 0
    with asked(shared) as (process, terminal, heard):
        os.write(terminal, typed.replace("{label}", shared.label).encode())
        _, err = process.communicate(timeout=60)
    assert (process.returncode, ours(shared)) == (code, left), err
    assert "30 records of this state" in heard


def test_a_signal_ends_the_question(shared: Migration) -> None:
    """Who waits for an answer holds the run lock: a signal lets go of it, and nothing is deleted."""
    make_vector_table(shared.dsn, 30, 8)
    shared.write(VECTOR_TABLE)
    assert shared.run("backfill").returncode == 0
    with asked(shared) as (process, _terminal, _heard):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, ours(shared)) == (143, 31), err


@contextlib.contextmanager
def asked(migration: Migration) -> Iterator[tuple[Process, int, str]]:
    """`remove` with a terminal for its input, once it has asked; the terminal's other end; what it has said."""
    terminal, own_end = pty.openpty()
    pipe, environment = subprocess.PIPE, {"PATH": os.environ["PATH"], "HOME": str(migration.folder)}
    command = [COMMAND, "remove", "-c", str(migration.config)]
    process = subprocess.Popen(command, stdin=own_end, stdout=pipe, stderr=pipe, text=True, env=environment)
    os.close(own_end)
    assert process.stderr is not None
    heard = ""
    while "type the label" not in heard and (character := process.stderr.read(1)):
        heard += character
    yield process, terminal, heard
    process.kill()
    process.wait()
    os.close(terminal)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_random_moments_and_run_again_nothing_of_ours_is_left(
    shared: Migration, record_property: Callable[[str, object], None]
) -> None:
    """kill -9, of a whole migration and of one that was killed itself; a backfill afterwards is exact."""
    vectors = make_vector_table(shared.dsn, ROWS, 8)
    shared.write(VECTOR_TABLE, target=SETTINGS)
    before = others(shared)
    points = {"backfill": list_points(shared, "backfill"), "remove": list_points(shared, *consent(shared))}
    assert (ours(shared), others(shared)) == (0, before)
    record_property("points", {name: len(passed) for name, passed in points.items()})
    chosen = random.Random(SEED)  # noqa: S311 - no secret
    hit = 0
    for number in range(KILLS):
        backfilled_to = 0 if number % 2 else chosen.randrange(len(points["backfill"]) // 3, len(points["backfill"]))
        shared.run("backfill", "-q", environment=killed_at(backfilled_to))
        moment = chosen.randrange(1, len(points["remove"]) + 1)
        hurt = shared.run(*consent(shared), "-q", environment=killed_at(moment))
        hit += hurt.returncode == -signal.SIGKILL
        done = shared.run(*consent(shared))
        about = (backfilled_to, moment, points["remove"][moment - 1], done.stderr)
        assert done.returncode == 0, about
        assert f"0 ours, {OTHERS} others untouched" in done.stdout, about
        assert (ours(shared), others(shared), index_names(shared)) == (0, before, []), about
    record_property("killed", hit)
    assert hit > 0

    assert shared.run("backfill").returncode == 0
    assert others(shared) == before
    discard_others(shared)
    account = compare_items(shared, vectors)
    assert account.is_exact, account


def consent(migration: Migration) -> tuple[str, ...]:
    """The command and its yes."""
    return "remove", "--yes", migration.label


def killed_at(point: int) -> dict[str, str]:
    """The environment of a run that is killed there; 0: nowhere."""
    return with_fault(f"kill:{point}") if point else {}


def list_points(migration: Migration, *arguments: str) -> list[str]:
    """The points that an undisturbed run passes."""
    listing: Path = migration.folder / f"points-{arguments[0]}"
    done = migration.run(*arguments, "-q", environment=with_fault(f"count:{listing}"))
    assert done.returncode == 0, done.stderr
    return listing.read_text(encoding="utf-8").splitlines()
