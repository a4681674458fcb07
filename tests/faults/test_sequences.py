"""Whole backfills against a server that lies at random: nothing lost, nothing doubled, no stale vector.

BYOV_TEST_SEQUENCES sets how many seeds are tried; the seed of a failure is in the test's name.
"""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from byov_migrate.config import load_config
from byov_migrate.errors import MigrationError, Unavailable
from byov_migrate.jobs.backfill import backfill
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.target import provision
from tests.acceptance.migration import VECTOR_TABLE, Migration, Target, compare_items, make_vector_table
from tests.faults import exchange
from tests.faults.exchange import Exchange, Fault, Seen
from tests.faults.faulty_rushdb import FaultyRushDB

SEQUENCES = int(os.environ.get("BYOV_TEST_SEQUENCES", "5"))
ROWS = int(os.environ.get("BYOV_TEST_SEQUENCE_ROWS", "600"))
FAULTY_SHARE = 0.12
SCALE = 25
"""Waits are so many times shorter than they would be; what the server does late is scaled alike."""
LATE_S = 0.02  # within the request budget of 1 s, scaled
RUNS = 12


class HastyStop(threading.Event):
    """A stop switch whose waits are short."""

    def wait(self, timeout: float | None = None) -> bool:
        """As Event.wait, scaled."""
        return super().wait(None if timeout is None else timeout / SCALE)


def close_then_act_late(given: Exchange) -> None:
    """The connection ends, and a moment later the request is carried out after all."""
    threading.Timer(LATE_S, given.act).start()
    given.close()


def fewer(body: dict[str, object]) -> dict[str, object]:
    """An answer that names fewer records than were made."""
    data = body.get("data")
    return {**body, "data": data[:-1] if isinstance(data, list) else {"updated": 0, "requested": 0}}


WRITES: list[Fault] = [
    exchange.act_then_close,
    exchange.act_then_reset,
    exchange.act_then(502),
    exchange.act_then(500),
    exchange.close_at_once,
    exchange.half_body,
    exchange.lose_commit,
    exchange.web_page,
    exchange.act_then_change(fewer),
    exchange.refuse(503),
    exchange.refuse(429, headers={"retry-after": "1"}),
    exchange.refuse(403),
    exchange.refuse(400, {"message": "Import failed: ForsetiClient[1] can't acquire EXCLUSIVE", "statusCode": 400}),
    close_then_act_late,
]
READS: list[Fault] = [exchange.close_at_once, exchange.half_body, exchange.refuse(503), exchange.web_page]
FIRST_CONTACT = ("/settings", "/tokens/current")  # a web page there means a wrong address: 69, a person has to look


def liar(seed: int) -> Callable[[Seen], Fault | None]:
    """Faults by chance: the same for the same seed and the same order of requests."""
    dice, lock = random.Random(seed), threading.Lock()  # noqa: S311 - no secret

    def decide(seen: Seen) -> Fault | None:
        with lock:
            if dice.random() > FAULTY_SHARE:
                return None
            is_write = seen.path.endswith((exchange.IMPORT, exchange.UPSERT, exchange.DELETE))
            choice = dice.choice(WRITES if is_write else READS)
            return None if choice is exchange.web_page and seen.path.endswith(FIRST_CONTACT) else choice

    return decide


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_whatever_a_server_says_the_target_ends_exact(
    seed: int, faulty: FaultyRushDB, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Act then close, reset, 502; lost and late commits; half answers; wrong counts: 0 lost, doubled or stale."""
    monkeypatch.setattr(provision, "ANSWER_MARGIN_S", 0.2)
    vectors = make_vector_table(database, ROWS, 8)
    honest = Target(faulty.honest_url, faulty.key)
    migration = Migration(tmp_path / "migration", database, honest)
    migration.write(VECTOR_TABLE, url=faulty.url, target='batch_rows = 50\nwriters = 2\ngive_up_after = "5m"')
    faulty.decide = liar(seed)

    run_until_done(migration)

    faulty.decide = lambda _seen: None
    time.sleep(2 * LATE_S)
    account = compare_items(migration, vectors)
    assert account.is_exact, account
    assert len(faulty.calls(exchange.IMPORT)) > ROWS / 50  # something did go wrong on the way


def run_until_done(migration: Migration) -> None:
    """As cron would: a run that ends 75 is followed by another."""
    config = load_config(migration.config, {})
    for _ in range(RUNS):
        surroundings = dataclasses.replace(Surroundings(), stop=HastyStop(), environment={})
        try:
            backfill(config, surroundings=surroundings)
        except Unavailable:
            continue
        except MigrationError as error:
            if error.exit_code == 75:
                continue
            raise
        return
    pytest.fail("it never came through")
