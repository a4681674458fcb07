"""Every interleaving of small transactions with reads of their changes: whatever commits, and when, nothing is lost.

A schedule is run once. Before it and after each of its steps the source's cursor is taken, as a sync might begin there;
wherever the table has changed, the changes since EACH earlier cursor must hold every row that differs from what was
visible at that cursor. That covers each choice of moments for any number of syncs: one that begins where another ended
has, by the same rule, a true copy to begin with.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Final, LiteralString, Protocol, TypeAlias, TypeVar

import psycopg
import pytest

from byov_migrate.source import Cursor, Strategy, TableReader, changes
from tests.postgres import running, session_to, system_binaries, table_reader

Steps: TypeAlias = tuple[tuple[LiteralString, ...], ...]
State: TypeAlias = dict[int, int]

WRITE: Final = "UPDATE job SET n = n + 1, updated_at = now() WHERE id = {id}"
INSERT: Final = "INSERT INTO job VALUES (100000000 + {id}, 1, now())"
# name: its steps, each some statements that nothing comes between. {id} is a row of the transaction's own.
SCRIPTS: Final[dict[str, Steps]] = {
    "plain": (("BEGIN",), (WRITE,), ("COMMIT",)),
    "two writes": (("BEGIN",), (INSERT,), (WRITE,), ("COMMIT",)),
    "rolled back": (("BEGIN",), (WRITE,), ("ROLLBACK",)),
    "savepoint": (("BEGIN",), ("SAVEPOINT a", WRITE, "RELEASE a"), ("COMMIT",)),
    "savepoint undone": (("BEGIN",), (WRITE, "SAVEPOINT a", INSERT, "ROLLBACK TO a", WRITE), ("COMMIT",)),
    "prepared": (("BEGIN",), (WRITE,), ("PREPARE TRANSACTION 'g{id}'",), ("COMMIT PREPARED 'g{id}'",)),
    "at once": ((WRITE,),),
}  # fmt: skip
SINGLES: Final = [(name,) for name in SCRIPTS]
PAIRS: Final = list(combinations_with_replacement(SCRIPTS, 2))
TRIPLES: Final = [
    triple
    for triple in combinations_with_replacement(["plain", "savepoint", "prepared", "at once"], 3)
    if triple.count("prepared") < 2
]
ALL: Final = os.environ.get("BYOV_TEST_SCHEDULES") == "all"
SAMPLE: Final = 120
SEED: Final = 20_241
WINDOW: Final = Strategy("window", "")
WATERMARK: Final = Strategy("watermark", "")


@pytest.fixture(scope="module")
def server(servers_root: Path) -> Iterator[str]:
    """A server of its own, where nobody else's transactions hold anything back, and where some can be prepared."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    settings = ["max_prepared_transactions=10", "autovacuum=off"]
    with running(binaries, servers_root / "interleavings", settings) as dsn:
        yield dsn


@dataclass
class Bench:
    """A table, the connections of the transactions, one that looks, and the reader under test."""

    connections: Sequence[psycopg.Connection[Any]]
    admin: psycopg.Connection[Any]
    reader: TableReader
    next_id: int = 1

    def prepare(self, transactions: int) -> range:
        """A row for each transaction; returns their ids."""
        if self.next_id % 500 > 490 or self.next_id == 1:
            self.admin.execute("TRUNCATE job")
        ids = range(self.next_id, self.next_id + transactions)
        self.next_id += transactions
        self.admin.execute("INSERT INTO job SELECT n, 0, now() FROM generate_series(%s::int, %s) n", (ids[0], ids[-1]))
        return ids

    def state(self) -> State:
        """What is visible now."""
        return dict(self.admin.execute("SELECT id, n FROM job").fetchall())


@pytest.fixture(scope="module")
def bench(server: str) -> Iterator[Bench]:
    """As `Bench`."""
    with ExitStack() as stack:
        several = [stack.enter_context(psycopg.connect(server, autocommit=True)) for _ in range(4)]
        several[0].execute("CREATE TABLE job (id int PRIMARY KEY, n int, updated_at timestamptz)")
        session = stack.enter_context(session_to(server))
        reader = table_reader(session, "job", changed_by="updated_at", overlap="0s")
        yield Bench(several[1:], several[0], reader)


@pytest.fixture(autouse=True)
def _no_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a schedule passes within a second: with the slack, nothing could ever be missed."""
    monkeypatch.setattr(changes, "SLACK_S", 0.0)


def orders(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order of the steps: the transaction's number for each step."""
    if not any(counts):
        yield ()
    for number, left in enumerate(counts):
        if left:
            rest = [count - (place == number) for place, count in enumerate(counts)]
            yield from ((number, *order) for order in orders(rest))


def schedules(names: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """The orders of some scripts; of two equal scripts the first begins first."""
    twins = [(a, b) for b in range(len(names)) for a in range(b) if names[a] == names[b]]
    for order in orders([len(SCRIPTS[name]) for name in names]):
        if all(order.index(a) < order.index(b) for a, b in twins):
            yield order


Mark = TypeVar("Mark", bound=Hashable)


class Method(Protocol[Mark]):
    """A way to tell what changed: where one sync ends and the next begins, and what is read from there."""

    def mark(self, since: Mark | None) -> Mark:
        """Where a sync would begin that began now, the one before having begun at `since`."""

    def changed(self, since: Mark) -> set[int]:
        """The ids of the rows that are read now."""


@dataclass(frozen=True)
class ByReader:
    """The code under test."""

    reader: TableReader
    strategies: Sequence[Strategy]

    def mark(self, since: Cursor | None) -> Cursor:
        """See `Method`."""
        with self.reader.changes(None, since) as opened:
            return replace(opened.cursor, lsn="0/0")  # equal states are looked at once

    def changed(self, since: Cursor) -> set[int]:
        """What every one of the strategies reads."""
        return set.intersection(*(self._changed(strategy, since) for strategy in self.strategies))

    def _changed(self, strategy: Strategy, since: Cursor) -> set[int]:
        with self.reader.changes(strategy, since) as opened:
            return {int(key[0]) for key, _ in opened.changed_keys()}


@dataclass(frozen=True)
class ByLargestTime:
    """The cursor that everybody writes first."""

    admin: psycopg.Connection[Any]

    def mark(self, since: object) -> object:
        """See `Method`."""
        del since
        return self.admin.execute("SELECT max(updated_at) FROM job").fetchall()[0][0]

    def changed(self, since: object) -> set[int]:
        """See `Method`."""
        return {row[0] for row in self.admin.execute("SELECT id FROM job WHERE updated_at > %s", (since,)).fetchall()}


def run(bench: Bench, names: Sequence[str], order: Sequence[int], method: Method[Mark]) -> set[int]:
    """One schedule; returns the rows that a sync would have lost."""
    ids, steps = bench.prepare(len(names)), [iter(SCRIPTS[name]) for name in names]
    before = bench.state()
    mark = method.mark(None)
    seen, lost = {mark: before}, set[int]()
    for number in order:
        for statement in next(steps[number]):
            bench.connections[number].execute(statement.format(id=ids[number]))
        now = bench.state()
        if now != before:
            lost |= {id_ for since, state in seen.items() for id_ in differing(state, now) - method.changed(since)}
        mark, before = method.mark(mark), now
        seen.setdefault(mark, now)
    return lost


def differing(state: State, now: State) -> set[int]:
    """The ids of rows that are new or other than they were; deletes are the sweep's matter."""
    return {id_ for id_, number in now.items() if state.get(id_) != number}


def chosen() -> Iterator[tuple[Sequence[str], tuple[int, ...]]]:
    """All schedules, or all of one transaction and a sample of the others."""
    everything = [(names, order) for names in (*SINGLES, *PAIRS, *TRIPLES) for order in schedules(names)]
    few = [one for one in everything if len(one[0]) == 1]
    many = [one for one in everything if len(one[0]) > 1]
    return iter(everything if ALL else [*few, *random.Random(SEED).sample(many, SAMPLE)])  # noqa: S311


def test_no_schedule_loses_a_row(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Late commits, savepoints, rollbacks, prepared transactions, idle before the first write: window and watermark."""
    began, ran = time.monotonic(), Counter[int]()
    method = ByReader(bench.reader, [WINDOW, WATERMARK])
    for names, order in chosen():
        assert run(bench, names, order, method) == set(), f"{names} in order {order}"
        ran[len(names)] += 1
    with capsys.disabled():
        print(f"\n{ran.total()} schedules {dict(ran)} in {time.monotonic() - began:.0f} s")  # noqa: T201


def test_the_largest_time_seen_loses_rows(bench: Bench) -> None:
    """The same bench catches the cursor that everybody writes first."""
    names = ("plain", "plain")
    lost = [run(bench, names, order, ByLargestTime(bench.admin)) for order in schedules(names)]
    assert any(lost)
    assert not all(lost)


def test_a_prepared_transaction_holds_the_watermark_where_it_was(bench: Bench) -> None:
    """Nobody can see when it began, only when it was prepared, which is later; the log says what holds."""
    id_ = bench.prepare(1)[0]
    since = ByReader(bench.reader, []).mark(None)
    one = bench.connections[0]
    for statement in ("BEGIN", WRITE, "PREPARE TRANSACTION 'held'"):
        one.execute(statement.format(id=id_))
    try:
        assert ByReader(bench.reader, []).mark(None).watermark is None
        assert ByReader(bench.reader, []).mark(since).watermark == since.watermark is not None
        settings = {"changed_by": "updated_at", "strategy": "watermark"}
        found = table_reader(bench.reader.session, "job", **settings).strategy(since, 1)
    finally:
        one.execute("ROLLBACK PREPARED 'held'")
    assert isinstance(found, Strategy)
    assert f"held at {since.watermark}, because of a prepared transaction" in found.guarantee
