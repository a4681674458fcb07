"""Changed settings of the class *apply*, written to the records that were made under the old ones.

    compare  ──►  indexes of new embeddings  ──►  scope and mark, at once  ──►  links that are gone, removed
                                             ──►  every row against its record: a full sync  ──►  mark cleared

While the mark stands, every backfill and every sync goes on here first; a run that is killed is simply run again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from byov_migrate.config import Entry, spare_of
from byov_migrate.errors import Refused
from byov_migrate.jobs import table_work
from byov_migrate.jobs.changes import Surveyor
from byov_migrate.jobs.documents import leaving
from byov_migrate.jobs.moving import Seen, looked_at, prepare
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.sync import Asked, Done, TableSync, carry_out, result_of, sync_table
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.write_planner import Tally
from byov_migrate.source import LinkShape
from byov_migrate.state.forgetting import embedded_properties
from byov_migrate.state.scope import Applying, Difference, compare, require_none

COMMAND = "backfill --apply"


def begin_apply(ends: Ends, entries: Sequence[Entry], models: Models) -> list[Difference]:
    """Let the state belong to the settings of now, and mark the tables whose records lag behind; return what changed.

    Raise Refused, with nothing written, when a difference is not of the class *apply*.
    """
    seen = {entry.name: looked_at(ends, entry, models, lazily=True) for entry in entries}
    current: dict[str, object] = {}
    for entry, one in zip(entries, seen.values(), strict=True):
        current |= table_work.scope_of(entry, one.reader, one.plans, one.places, ends.links)
    stored = ends.state.scope.fields()
    found = compare(stored, current)
    if any(item.change != "apply" for item in found):
        require_none(found)
    _tell(ends, stored, found)
    changed = [entry for entry in entries if _of(entry, found)]
    for entry in changed:
        _make_indexes(ends, entry, seen[entry.name])
        if _is_incomplete(ends, entry):
            ends.state.journal.rewind(entry.name)  # rows that were not selected, or were rejected, lie behind
    marks = {entry.name: _mark(ends, entry, seen[entry.name], stored, _of(entry, found)) for entry in changed}
    ends.state.scope.begin_apply(current, marks)
    return found


def _of(entry: Entry, differences: Sequence[Difference]) -> list[Difference]:
    return [item for item in differences if item.field.startswith(f"tables[{entry.name}].")]


def _tell(ends: Ends, stored: Mapping[str, Any], found: Sequence[Difference]) -> None:
    """What changed, and what the configuration does not speak of any more."""
    for item in found:
        ends.note("apply", field=item.field, old=item.old, new=item.new)
    configured = {entry.name for entry in ends.config.entries}
    known = {field[len("tables[") :].partition("].")[0] for field in stored if field.startswith("tables[")}
    for name in sorted(known - configured):
        label = stored.get(f"tables[{name}].label")
        kept = f"its {ends.state.ledger.count_records(name):,} records of {label} stay"
        instead = f"put it back and run byov-migrate remove --table {name}"
        ends.note("not-configured", table=name, because=f"{kept}; to remove them {instead}")


def _make_indexes(ends: Ends, entry: Entry, seen: Seen) -> None:
    """Before the state changes: one that cannot be made is no reason to be stuck between two settings."""
    table_work.claim(ends.wire, ends.patience, ends.state, entry, ends.source_name(entry))
    try:
        table_work.require_filled_indexes(ends.wire, ends.patience, ends.state, entry, seen.plans)
    except Refused as gone:  # what mends it refuses the new settings in turn
        later = f"then byov-migrate {COMMAND} with the new ones"
        gone.next_step = f"put the old settings back and run {gone.next_step}; {later}"
        raise
    table_work.make_indexes(ends.wire, ends.patience, ends.state, entry, seen.plans)


def _is_incomplete(ends: Ends, entry: Entry) -> bool:
    plan = ends.state.journal.plan(entry.name)
    return plan is not None and plan.ranges_done < plan.ranges


def _mark(
    ends: Ends, entry: Entry, seen: Seen, stored: Mapping[str, Any], differences: Sequence[Difference]
) -> Applying:
    fields = tuple(item.field.partition("].")[2] for item in differences)
    now = {item.property_name for item in leaving(entry, seen.reader.links)}
    anew = _changed_pairs(ends, entry, stored)
    change = Applying(fields, frozenset(_left_before(ends, entry, stored)) - now, frozenset(anew))
    return change.after(ends.state.scope.applying(entry.name), now)


def _left_before(ends: Ends, entry: Entry, stored: Mapping[str, Any]) -> Iterator[str]:
    """Names of the properties that records have under the stored settings, those apart that every record has."""
    renamed = stored.get(f"tables[{entry.name}].rename") or {}
    for column in stored.get(f"tables[{entry.name}].columns") or ():
        yield renamed.get(column, column)
    yield from (spare_of(name) for name, spare in embedded_properties(stored, entry.name).items() if spare)
    yield from (f"byovRef_{row.type}" for row in ends.state.links.rows(entry.name) if row.carried)


def _changed_pairs(ends: Ends, entry: Entry, stored: Mapping[str, Any]) -> Iterator[str]:
    """Links that no row carries and that are defined otherwise: what they had as properties would stay."""
    before = {link["type"]: link for link in stored.get(f"tables[{entry.name}].links") or ()}
    here: list[LinkShape] = [link for link in ends.links if link.source.entry.name == entry.name]
    for link in here:
        old = before.get(link.type)
        if not link.is_carried and old is not None and old != _config_of(link):
            yield link.name


def _config_of(link: LinkShape) -> Mapping[str, Any]:
    return link.config.model_dump(mode="json", exclude_defaults=True)


def catch_up(ends: Ends, entries: Sequence[Entry], models: Models, *, confirm_deletes: bool) -> tuple[TableSync, ...]:
    """Write the records of every table that lags behind its settings; what has no record is left to the backfill.

    Raise as `sync`: ConsentNeeded before more is deleted than the ceiling allows.
    """
    asked = Asked(full=True, confirm_deletes=confirm_deletes, stored_only=True, command=COMMAND)
    lagging = [entry for entry in entries if ends.state.scope.applying(entry.name)]
    return tuple(
        _catch_up_stored(ends, entry, models, asked)
        if _is_incomplete(ends, entry) or ends.state.journal.plan(entry.name) is None
        else sync_table(ends, entry, models, dataclasses.replace(asked, stored_only=False), stirred=True)
        for entry in lagging
    )


def _catch_up_stored(ends: Ends, entry: Entry, models: Models, asked: Asked) -> TableSync:
    """As a full sync, over the rows that a backfill has come to so far; the cursor stays where the backfill began."""
    began = ends.around.monotonic()
    work = prepare(ends, entry, models, lazily=True)
    since = ends.state.cursors.of(entry.name)
    if since is None:  # killed before its first row
        ends.state.scope.end_apply(entry.name)
        return result_of(ends, work, Done(Tally(), Totals(), 0), None, ends.around.monotonic() - began)
    with Surveyor(work.reader, ends.state, ends.patience).survey(since, None, sweep=True) as findings:
        if entry.unused == "keep" and entry.distinct is not None:
            findings.gone.clear()
        done = carry_out(ends, work, findings, asked)
    ends.state.scope.end_apply(entry.name)
    return result_of(ends, work, done, None, ends.around.monotonic() - began)
