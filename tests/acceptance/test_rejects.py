"""One bad row costs one row: it is named, kept, tried again when told to, or accepted."""

from __future__ import annotations

import json

import psycopg

from tests.acceptance.migration import Migration

TABLE = """
[[tables]]
name = "thing"
label = "{label}"
columns = ["id", "big", "price", "made"]
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""


def fill(dsn: str) -> None:
    """Forty rows; number 5 holds too large an integer, 9 an infinite date, 13 a NaN vector, 17 a zero vector."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create table thing (id int primary key, big bigint, price float8, made date, embedding real[])"
        )
        connection.execute(
            "insert into thing select n, n, n / 4.0, '2024-01-01', array[1, n] from generate_series(1, 40) n"
        )
        connection.execute("update thing set big = 9007199254740993 where id = 5")
        connection.execute("update thing set made = 'infinity' where id = 9")
        connection.execute("update thing set embedding = '{NaN,1}' where id = 13")
        connection.execute("update thing set embedding = '{0,0}' where id = 17")


def rejects(migration: Migration) -> dict[str, dict[str, object]]:
    """The rejected rows by key."""
    listed = migration.run("rejects", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return {row["key"]: row for row in json.loads(listed.stdout)}


def test_bad_rows_are_rejected_one_by_one_and_come_later(migration: Migration) -> None:
    """Exactly the poisoned rows are rejected, with column and setting; mended ones arrive by retry, code 3 once."""
    fill(migration.dsn)
    migration.write(TABLE, target="batch_rows = 16")

    first, second = migration.run("backfill"), migration.run("backfill")

    assert first.returncode == 3, first.stderr
    assert second.returncode == 0, second.stderr
    found = rejects(migration)
    assert set(found) == {"5", "9", "13", "17"}
    assert found["5"]["column"] == "big"
    assert "types" in str(found["5"]["setting"])
    assert all("9007199254740993" not in json.dumps(row) for row in found.values())
    assert len(list(migration.target.records(migration.label))) == 36

    with psycopg.connect(migration.dsn) as connection:
        connection.execute("update thing set big = 5, made = '2024-02-02' where id in (5, 9)")
        connection.execute("delete from thing where id = 17")
    retried = migration.run("rejects", "retry", "--json")

    assert retried.returncode == 3, retried.stderr
    assert json.loads(retried.stdout) == {"stored": 2, "rejected": 1, "gone": 1}
    assert set(rejects(migration)) == {"13"}
    assert sorted(record["id"] for record in migration.target.records(migration.label)) == [
        number for number in range(1, 41) if number not in (13, 17)
    ]


def test_an_accepted_reject_is_kept_with_its_reason(migration: Migration) -> None:
    """Who, when and why stay in the state; a retry leaves the row alone."""
    fill(migration.dsn)
    migration.write(TABLE)
    assert migration.run("backfill").returncode == 3
    code = str(rejects(migration)["13"]["code"])

    one = migration.run("rejects", "accept", "5", "--reason", "known")
    same = migration.run("rejects", "accept", "--code", code, "--reason", "broken model")
    none = migration.run("rejects", "accept", "99", "--reason", "x")

    assert (one.returncode, same.returncode, none.returncode) == (0, 0, 2)
    found = rejects(migration)
    assert found["5"]["accepted_reason"] == "known"
    assert found["13"]["accepted_reason"] == "broken model"
    assert found["13"]["accepted_by"]
    assert json.loads(migration.run("rejects", "retry", "--json").stdout)["rejected"] == len(found) - 2 - (
        found["17"]["code"] == code
    )


def test_too_many_rejects_stop_the_run(migration: Migration) -> None:
    """A broken mapping is stopped at the ceiling with 6, and the next step is named."""
    fill(migration.dsn)
    migration.write(TABLE.replace('columns = ["id"', 'reject_ceiling = 2\ncolumns = ["id"'))

    stopped = migration.run("backfill")

    assert stopped.returncode == 6, stopped.stderr
    assert "reject" in stopped.stderr
    assert stopped.stderr.strip().endswith("byov-migrate rejects list")
