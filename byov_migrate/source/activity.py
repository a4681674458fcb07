"""The transactions that are open now, as far as the role may see them."""

from __future__ import annotations

from dataclasses import dataclass

from byov_migrate.source import queries
from byov_migrate.source.session import Session


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """The oldest transaction of the database. `began` is PostgreSQL's text in UTC."""

    pid: int
    state: str  # active, idle in transaction ...
    began: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Activity:
    """What a look at the sessions of this database showed. `now` is when it began, in PostgreSQL's text in UTC."""

    now: str
    in_recovery: bool
    role: str
    hidden: int  # sessions of others, whose times the role may not see
    untracked: int  # sessions with track_activities = off
    oldest: OpenTransaction | None
    prepared: int
    prepared_age_s: float  # of the oldest

    @property
    def watermark(self) -> str | None:
        """No transaction that was open then, or came later, began earlier; None where that cannot be known."""
        if self.in_recovery or self.hidden or self.untracked or self.prepared:
            return None
        return self.oldest.began if self.oldest else self.now


def read_activity(session: Session) -> Activity:
    """Look at the open transactions, then at the prepared ones, in a transaction of its own.

    In this order: a transaction is listed as prepared before it is no longer listed as open.
    """
    with session.transaction() as transaction:
        now, in_recovery, role, hidden, untracked, *oldest = transaction.fetch(queries.ACTIVITY)[0]
        prepared, prepared_age_s = transaction.fetch(queries.PREPARED)[0]
    first = OpenTransaction(*oldest) if oldest[0] is not None else None
    return Activity(now, in_recovery, role, hidden, untracked, first, prepared, prepared_age_s)
