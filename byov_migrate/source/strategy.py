"""How the changes of a table are told from the rest, what that guarantees, and why it may not be possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from byov_migrate.config import TableConfig
from byov_migrate.source.activity import Activity
from byov_migrate.source.circumstances import Circumstances
from byov_migrate.source.cursor import Cursor
from byov_migrate.source.shape import TableShape
from byov_migrate.source.windows import Unusable, window_between

_WINDOW_GUARANTEE: Final = "complete: every change committed before this run's snapshot, whatever clocks do"
_FULL: Final = "run: byov-migrate sync --full"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A usable way. `guarantee` is one sentence for the log; `warning` says what makes it slow or weak, if anything."""

    kind: Literal["window", "watermark"]
    guarantee: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class NoStrategy:
    """No way is usable; each reason is a sentence with what to do."""

    reasons: tuple[str, ...]


def choose(
    shape: TableShape, table: TableConfig, circumstances: Circumstances, since: Cursor | None, rows: int
) -> Strategy | NoStrategy:
    """`strategy` of the configuration, else the window up to `window_max_rows` rows, else the watermark."""
    if since is None:
        return NoStrategy((f"there is no state of the source to start from; {_FULL}",))
    window = window_between(since.snapshot, circumstances.snapshot)
    if isinstance(window, Unusable):
        return NoStrategy((f"{window.reason}; {_FULL}",))
    reasons: list[str] = []
    if table.strategy in ("auto", "window"):
        against = [*_against_window(shape, circumstances), *_too_large(table, rows)]
        if not against:
            return Strategy("window", _WINDOW_GUARANTEE, _long_window(table, circumstances.activity))
        reasons += (f"window: {reason}" for reason in against)
    if table.strategy in ("auto", "watermark"):
        against = list(_against_watermark(shape, table, circumstances, since))
        if not against:
            return _watermark(shape, table, circumstances, since)
        reasons += (f"watermark: {reason}" for reason in against)
    return NoStrategy(tuple(reasons))


def _too_large(table: TableConfig, rows: int) -> Iterator[str]:
    if table.strategy == "auto" and rows > table.window_max_rows:
        yield (
            f"it reads the whole table, whose {rows:,} rows are more than window_max_rows = {table.window_max_rows};"
            ' set strategy = "window" to read them all the same, or changed_by'
        )


def _elsewhere(shape: TableShape, circumstances: Circumstances) -> Iterator[str]:
    """Rows whose transactions are not this server's, or are not PostgreSQL's."""
    if circumstances.fork:
        yield f"the server is {circumstances.fork}, which numbers transactions in its own way; {_FULL}"
    if circumstances.is_distributed:
        yield f"{shape} is distributed over the nodes of Citus, each of which numbers its own transactions; {_FULL}"
    foreign = next((member for member in circumstances.members if member.kind == "f"), None)
    if foreign:
        yield f"{foreign} is a foreign table: its transactions are another server's; {_FULL}, or connect to that server"


def _against_window(shape: TableShape, circumstances: Circumstances) -> Iterator[str]:
    yield from _elsewhere(shape, circumstances)
    if shape.kind == "v":
        yield f"{shape} is a view, whose rows carry no transaction ids; set changed_by, or {_FULL}"
    elif not circumstances.shows_ids:
        role = circumstances.activity.role
        yield f"a grant on columns does not include the transaction ids of rows; GRANT SELECT ON {shape} TO {role}"
    if not circumstances.tells_replay:
        yield "the replica does not tell how far it has replayed; connect to the primary"
    for member in circumstances.members:
        if member.schema == "_timescaledb_internal":
            yield f"{member} is a chunk of TimescaleDB, which compresses transaction ids away; set changed_by"
            return
        if member.kind in "rm" and member.access_method != "heap":
            yield f"{member} is stored by {member.access_method}, not heap: no transaction ids in rows; set changed_by"
            return


def _against_watermark(
    shape: TableShape, table: TableConfig, circumstances: Circumstances, since: Cursor
) -> Iterator[str]:
    if table.changed_by is None:
        yield "changed_by is not set; name a column that is set to now() by every insert and update"
        return
    column = shape.columns[table.changed_by]
    if column.base.name not in ("timestamptz", "timestamp") or column.element is not None:
        yield f"changed_by: column {column.name} is {column.declared}; name one of type timestamptz"
        return
    yield from _elsewhere(shape, circumstances)
    yield from _unseen_transactions(circumstances)
    if since.watermark is None:
        yield f"it is not known how old the open transactions were when the last run began; {_FULL}"


def _unseen_transactions(circumstances: Circumstances) -> Iterator[str]:
    activity = circumstances.activity
    if activity.in_recovery:
        yield "a replica does not show the primary's open transactions; connect to the primary"
    if activity.hidden:
        yield (
            f"the role {activity.role} may not see when the transactions of other roles began;"
            f" GRANT pg_read_all_stats TO {activity.role}"
        )
    if activity.untracked:
        yield f"{activity.untracked} sessions have track_activities = off, so nobody sees when they began; set it on"
    subscribed = next((member for member in circumstances.members if member.is_subscribed), None)
    if subscribed:
        yield f"{subscribed} is filled by logical replication, with another server's times; {_FULL}"


def _watermark(shape: TableShape, table: TableConfig, circumstances: Circumstances, since: Cursor) -> Strategy:
    changed_by = str(table.changed_by)
    conditions = [
        f"{changed_by} is set by the database's clock",
        *(["it holds UTC"] if shape.columns[changed_by].base.name == "timestamp" else []),
        f"no transaction's clock is off by more than {duration(table.overlap)}",
    ]
    held = _held(table, circumstances.activity, since)
    guarantee = f"complete if {', '.join(conditions[:-1])} and {conditions[-1]}{held}"
    slow = f"no index of {shape} begins with {changed_by}, so each sync reads the whole table"
    return Strategy("watermark", guarantee, None if circumstances.is_indexed or shape.kind == "v" else slow)


def _held(table: TableConfig, activity: Activity, since: Cursor) -> str:
    """Why the next sync will not begin near now."""
    if activity.prepared:
        age = duration(activity.prepared_age_s)
        return f"; held at {since.watermark}, because of {_count(activity.prepared)} (see pg_prepared_xacts), {age} old"
    oldest = activity.oldest
    if oldest is None or oldest.age_s <= table.overlap:
        return ""
    return f"; held at {oldest.began}, because {_who(activity)}"


def _count(prepared: int) -> str:
    return "a prepared transaction" if prepared == 1 else f"{prepared} prepared transactions"


def _who(activity: Activity) -> str:
    oldest = activity.oldest
    return f"pid {oldest.pid} has been {oldest.state} for {duration(oldest.age_s)}" if oldest else ""


def _long_window(table: TableConfig, activity: Activity) -> str | None:
    """A transaction that may hold the window's beginning back: it grows, and nothing is lost."""
    if activity.prepared and activity.prepared_age_s > table.overlap:
        age = duration(activity.prepared_age_s)
        return f"{_count(activity.prepared)}, {age} old (see pg_prepared_xacts), makes each sync read more again"
    if activity.oldest and activity.oldest.age_s > table.overlap:
        return f"{_who(activity)}; if it has written, each sync reads more again"
    return None


def duration(seconds: float) -> str:
    """For people: 90 s, 42 min, 3 h, 2 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
