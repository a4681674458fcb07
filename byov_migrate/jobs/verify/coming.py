"""What the next sync would look at: its own strategy, asked from its own cursor, after both sides were read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from byov_migrate.jobs.changes import Surveyor
from byov_migrate.jobs.sync_start import require_as_new, rows_of
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.source import Cursor, NoStrategy, went_back
from byov_migrate.state.cursors import Synced


@contextmanager
def coming_keys(subject: Subject) -> Iterator[Iterator[str] | None]:
    """Keys that the next sync would look at; None when it could not see changes or would refuse to."""
    ends, reader = subject.ends, subject.reader
    since = _since(subject)
    if since is None or went_back(ends.session, Cursor(**since.cursor)) is not None:
        yield None
        return
    if reader.shape.derived is not None:
        with Surveyor(reader, ends.state, ends.patience).survey(since, None, sweep=True) as findings:
            yield (reader.rows_reader.key(position) for position in findings.changed.positions())
        return
    strategy = reader.strategy(Cursor(**since.cursor), rows_of(ends.state, subject.table.name))
    if isinstance(strategy, NoStrategy):
        yield None
        return
    with Surveyor(reader, ends.state, ends.patience).survey(since, strategy, sweep=False) as findings:
        yield (reader.rows_reader.key(position) for position in findings.changed.positions())


def _since(subject: Subject) -> Synced | None:
    """Where the next sync begins; None while the backfill is not complete."""
    state, name = subject.ends.state, subject.table.name
    plan = state.journal.plan(name)
    return state.cursors.of(name) if plan is not None and plan.ranges_done >= plan.ranges else None


def wait_for_replica(subject: Subject) -> None:
    """A replica that lags would show rows as they were: wait until it holds what was synced."""
    since = _since(subject)
    if since is not None:
        require_as_new(subject.ends.session, since, subject.ends.patience, accepted=True)
