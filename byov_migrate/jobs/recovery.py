"""What an earlier run sent and never settled: looked for before anything is sent again.

A batch that is found whole, every vector with the score that was recorded, is settled as it is: nothing is embedded
twice. Of anything less, new records are removed, since they were never confirmed and nothing can depend on them yet;
records that were written over keep their ids and are written again. The rows are read again in both cases.
A migration that is taken back settles nothing: there every such batch is withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.records import Known
from byov_migrate.state import State
from byov_migrate.state.intents import Intent
from byov_migrate.target.delivery import Delivery
from byov_migrate.target.looking import Lookout
from byov_migrate.target.proof import of_batch, of_keys
from byov_migrate.target.retry import Patience


def settle_intents(
    table: str,
    properties: tuple[str, ...],
    state: State,
    delivery: Delivery,
    patience: Patience,
    *,
    request_budget_s: float,
    surroundings: Surroundings,
) -> int:
    """Settle or undo every unproved batch of a table; return the number of rows that turned out to be stored."""
    intents = state.journal.intents(table)
    if not intents:
        return 0
    _wait_for(intents, patience, request_budget_s, surroundings)
    settled = sum(_settle(table, properties, intent, state, delivery) for intent in intents)
    surroundings.log("recovered", table=table, batches=len(intents), rows=settled)
    return settled


def withdraw_intents(
    table: str,
    state: State,
    lookout: Lookout,
    patience: Patience,
    *,
    request_budget_s: float,
    surroundings: Surroundings,
) -> int:
    """Undo every unproved batch of a table, whole or not; return how many records were removed.

    Records that a batch wrote over are known to the ledger and stay. Nothing of these batches comes later.
    """
    intents = state.journal.intents(table)
    if not intents:
        return 0
    _wait_for(intents, patience, request_budget_s, surroundings)
    removed = sum(_withdraw(table, intent, state, lookout) for intent in intents)
    surroundings.log("withdrawn", table=table, batches=len(intents), rows=removed)
    return removed


def _withdraw(table: str, intent: Intent, state: State, lookout: Lookout) -> int:
    ids = state.ledger.record_ids(table, [row.key for row in intent.rows])
    strays = _not_in_the_ledger(table, lookout.by_batch(intent.batch, ids.values()), state)
    lookout.discard(strays)
    state.journal.drop_intent(intent.batch)
    return len(strays)


def _wait_for(
    intents: Sequence[Intent], patience: Patience, request_budget_s: float, surroundings: Surroundings
) -> None:
    """Wait until no request of these batches can still be running at the target."""
    age_s = surroundings.clock() - max(intent.sent_at for intent in intents)
    if (remaining_s := still_under_way_s(age_s, patience.give_up_after_s, request_budget_s)) > 0:
        reason = f"{len(intents)} batches of an earlier run may still be under way at the target"
        patience.pause(reason, remaining_s)


def still_under_way_s(age_s: float, give_up_after_s: float, request_budget_s: float) -> float:
    """How long the last request of a batch may still run at the target, at most.

    age_s: since the batch was recorded, negative when the clock was set back. It may have been sent again until its run
    gave up, and nobody knows when that run was killed.
    """
    if age_s < 0:
        return request_budget_s
    return min(max(give_up_after_s + request_budget_s - age_s, 0.0), request_budget_s)


def _settle(table: str, properties: tuple[str, ...], intent: Intent, state: State, delivery: Delivery) -> int:
    known = state.ledger.known(table, [row.key for row in intent.rows], properties)
    if intent.attaches:
        return _settle_attached(table, properties, intent, known, state, delivery)
    found = delivery.look_for(intent.batch, [record.record_id for record in known.values()])
    if (
        found
        and not _lost_a_vector(properties, intent, found, known)
        and _is_whole(properties, intent, found, delivery)
    ):
        state.journal.settle_intent(table, intent, found)
        return len(intent.rows)
    strays = _not_in_the_ledger(table, found, state)
    if strays:
        delivery.discard(strays)
    state.journal.drop_intent(intent.batch)
    return 0


def _settle_attached(
    table: str,
    properties: tuple[str, ...],
    intent: Intent,
    known: Mapping[str, Known],
    state: State,
    delivery: Delivery,
) -> int:
    """Vectors that were to come to records as they are. Any that is missing, and all are attached again."""
    ids = {key: record.record_id for key, record in known.items()}
    if ids.keys() >= {row.key for row in intent.rows} and delivery.holds_vectors(
        of_keys(ids), _scores_by_id(properties, intent, ids)
    ):
        state.journal.settle_attached(table, intent)
        return len(intent.rows)
    state.journal.drop_intent(intent.batch)
    return 0


def _not_in_the_ledger(table: str, found: Mapping[str, str], state: State) -> list[str]:
    """Ids of records that are new. The others were written over: they stay, and the ledger knows them as unsettled."""
    known = set(state.ledger.record_ids(table, list(found)).values())
    return [record_id for record_id in found.values() if record_id not in known]


def _lost_a_vector(
    properties: tuple[str, ...], intent: Intent, found: Mapping[str, str], known: Mapping[str, Known]
) -> bool:
    """Whether a row that was to be appended stands in a new record: the old one, which had a vector, is gone.

    Of a rewritten record the ledger knows no vector any more.
    """
    anew = [
        row for row in intent.rows if row.key in known and found.get(row.key) not in (None, known[row.key].record_id)
    ]
    return any(not row.vectors or _held(properties, known[row.key]) - row.vectors.keys() for row in anew)


def _held(properties: tuple[str, ...], known: Known) -> set[str]:
    return {name for name, mark in zip(properties, known.text_hashes, strict=True) if mark is not None}


def _is_whole(properties: tuple[str, ...], intent: Intent, found: dict[str, str], delivery: Delivery) -> bool:
    if any(row.key not in found for row in intent.rows):
        return False
    return delivery.holds_vectors(of_batch(intent.batch), _scores_by_id(properties, intent, found))


def _scores_by_id(properties: tuple[str, ...], intent: Intent, ids: Mapping[str, str]) -> list[dict[str, float]]:
    """For each embedding, record id -> score against the first probe."""
    return [
        {ids[row.key]: row.vectors[name][1][0] for row in intent.rows if name in row.vectors} for name in properties
    ]
