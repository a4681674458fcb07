"""What it would cost to rewrite records only because RushDB cannot append to them: found out before the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from byov_migrate.errors import ConsentNeeded
from byov_migrate.jobs.moving import Mover
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.records import Page

MOST_TEXTS_AGAIN = 5000


def require_affordable(chosen: Mover, pages: Callable[[], Iterator[Page]], known: int) -> None:
    """Raise ConsentNeeded, with the statement for the operator, when more than 5,000 unchanged texts would be embedded.

    known: rows that have a record. The rows are read for this only when there are so many of them.
    """
    if known <= MOST_TEXTS_AGAIN or not chosen.work.embeds:
        return
    planner = WritePlanner(chosen.work, chosen.ends.state, chosen.delivery.fetch, lambda: False)
    for _ in planner.pages(pages()):
        pass
    if planner.tally.texts_again <= MOST_TEXTS_AGAIN or chosen.unique():
        return
    label = chosen.work.table.label
    raise ConsentNeeded(
        f"{planner.tally.texts_again:,} records of {label} changed in columns that are not embedded; without a"
        " uniqueness constraint in RushDB's database each would be rewritten and its unchanged text embedded again;"
        " nothing written",
        next_step=f"ask RushDB's operator to run: {constraint_statement(label)}",
    )


def constraint_statement(label: str) -> str:
    """What the operator of RushDB's Neo4j runs once."""
    name = f"{label.lower()}_byov_key"
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.byovKey IS UNIQUE"
