"""What an earlier run sent and never settled: looked for before anything is sent again.

A batch that is found whole, every vector with the score that was recorded, is settled as it is: nothing is embedded
twice. Anything less is removed, since it was never confirmed and nothing can depend on it yet, and its rows are read
again.
"""

from __future__ import annotations

from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import State
from byov_migrate.state.journal import Intent
from byov_migrate.target.delivery import Delivery
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
    latest = max(intent.sent_at for intent in intents)
    age_s = surroundings.clock() - latest
    remaining_s = request_budget_s - age_s if 0 <= age_s <= request_budget_s else request_budget_s * (age_s < 0)
    if remaining_s > 0:
        reason = f"{len(intents)} batches of an earlier run may still be under way at the target"
        patience.pause(reason, remaining_s)
    settled = sum(_settle(table, properties, intent, state, delivery) for intent in intents)
    surroundings.log("recovered", table=table, batches=len(intents), rows=settled)
    return settled


def _settle(table: str, properties: tuple[str, ...], intent: Intent, state: State, delivery: Delivery) -> int:
    found = delivery.look_for(intent.batch)
    if found and _is_whole(properties, intent, found, delivery):
        state.journal.settle_intent(table, intent, found)
        return len(intent.rows)
    if found:
        delivery.discard(list(found.values()))
    state.journal.drop_intent(intent.batch)
    return 0


def _is_whole(properties: tuple[str, ...], intent: Intent, found: dict[str, str], delivery: Delivery) -> bool:
    if any(row.key not in found for row in intent.rows):
        return False
    scores = [
        {found[row.key]: row.vectors[name][1][0] for row in intent.rows if name in row.vectors} for name in properties
    ]
    return delivery.holds_vectors(intent.batch, scores)
