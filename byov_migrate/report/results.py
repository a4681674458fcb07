"""Results as text or JSON on stdout, and the last line of a run that did not end 0."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byov_migrate.errors import Interrupted, MigrationError, Refused, RowRefused
from byov_migrate.report.live import clock_text, size_text
from byov_migrate.report.searching import print_search

if TYPE_CHECKING:
    from byov_migrate.embed.convert import ConvertResult
    from byov_migrate.jobs.backfill import BackfillResult, TableResult
    from byov_migrate.jobs.backup import BackupResult
    from byov_migrate.jobs.demo.run import DemoResult
    from byov_migrate.jobs.linking import LinkResult
    from byov_migrate.jobs.rejects import RetryResult
    from byov_migrate.jobs.show import RecordView
    from byov_migrate.jobs.status import CarrierStatus, Status, TableStatus
    from byov_migrate.jobs.verify import Verification

BUG_CODE = 1


def print_json(result: Any) -> None:
    """Any result as one JSON document."""
    print(json.dumps(_plain(result), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value


def print_backfill(result: BackfillResult) -> None:
    """A block a table: what is stored, what leads from there, what left, where the time went."""
    for line in _applied_lines(result):
        print(line)
    for table in result.tables:
        links = [link for link in result.links if link.source == table.label]
        for line in _backfill_lines(table, links):
            print(line)
    moved = {table.label for table in result.tables}
    for link in result.links:
        if link.source not in moved:  # of a table that was not asked for; links are made all the same
            print(f"{link.source}\n{_link_line(link)}")


def _applied_lines(result: BackfillResult) -> Iterator[str]:
    """Settings that changed, old and new, and what that came to."""
    for change in result.changes:
        yield f"applied {change.field}: {change.new}, was {'absent' if change.old is None else change.old}"
    for table in result.applied:
        again = f", {table.texts_again:,} of them unchanged" if table.texts_again else ""
        done = f"{table.created:,} new, {table.updated:,} changed, {table.deleted:,} deleted"
        yield f"{table.label}: {done}, {table.unchanged:,} as they were; {table.texts:,} texts embedded{again}"


def _backfill_lines(table: TableResult, links: Sequence[LinkResult]) -> list[str]:
    run = table.this_run
    notes = [f"{run.no_text:,} without text"] if run.no_text else []
    notes += [f"{run.truncated:,} of {run.texts:,} texts truncated"] if run.truncated else []
    notes += [f"{table.rejects:,} rejected"] if table.rejects else []
    lines = [
        _stored_line(table),
        *([f"  notes    {', '.join(notes)}"] if notes else []),
        *map(_link_line, links),
        f"  left     {', '.join(table.properties_sent)}; vectors",
        *([f"  stayed   {', '.join(table.columns_kept)}"] if table.columns_kept else []),
        f"  time     {clock_text(table.seconds)}, {_busy(table.busy)}",
        f"  out      {size_text(table.bytes_out)}{_text_rate(table)}",
    ]
    if not table.complete:
        lines.append("  limited  the plan goes on; to continue: byov-migrate backfill")
    return lines + _moved_meanwhile(table)


def _stored_line(table: TableResult) -> str:
    each = ", ".join(f"{name} {count:,}" for name, count in table.vectors.items())
    stored = f"{table.rows_stored:,} records and {table.vectors_stored:,} vectors stored"
    stored += f": {each}" if len(table.vectors) > 1 else ""
    return f"{table.label}: {stored} ({table.this_run.rows:,} in this run); {table.rows_planned:,} rows planned"


def _link_line(link: LinkResult) -> str:
    removed = f", {link.removed:,} removed" if link.removed else ""
    lead = "leads" if link.dangling == 1 else "lead"
    dangling = f", {link.dangling:,} {lead} to no record" if link.dangling else ""
    return f"  links    {link.stored:,} {link.type} to {link.target} ({link.made:,} in this run){removed}{dangling}"


def _text_rate(table: TableResult) -> str:
    rate = table.this_run.texts / table.seconds if table.seconds else 0.0
    return f", {rate:.1f} texts/s" if rate else ""


def _moved_meanwhile(table: TableResult) -> list[str]:
    """The source went on while it was read; a sync brings the difference."""
    settled = table.rows_stored + table.rejects
    if table.rows_in_source is None or table.rows_in_source == settled:
        return []
    return [f"  source   holds {table.rows_in_source:,} rows now, {settled:,} are stored or rejected"]


def _busy(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {share:.0%} busy" for stage, share in sorted(shares.items(), key=lambda item: -item[1]))


def print_demo(result: DemoResult) -> None:
    """What was moved, what was found, what to type next."""
    for line in _demo_lines(result.backfill):
        print(line)
    print(_proof_line(result.verification))
    for asked in result.searches:
        print(f'\nSearching "{asked.query}" where {asked.where}')
        print_search(asked.result)
    print("\nNext, each works as it stands:")
    for command in result.next_commands:
        print(f"  {command}")


def _demo_lines(result: BackfillResult) -> Iterator[str]:
    """All tables together, a kind of thing a line."""
    yield "  records  " + "  ".join(f"{table.rows_stored:,} {table.label}" for table in result.tables)
    yield "  links    " + "  ".join(f"{link.stored:,} {link.type}" for link in result.links)
    texts = sum(table.this_run.texts for table in result.tables)
    notes = {
        "records without text": sum(table.this_run.no_text for table in result.tables),
        f"of {texts:,} texts truncated": sum(table.this_run.truncated for table in result.tables),
    }
    told = [f"{count:,} {what}" for what, count in notes.items() if count]
    vectors = sum(table.vectors_stored for table in result.tables)
    yield f"  vectors  {', '.join([f'{vectors:,}', *told])}"
    for table in result.tables:
        yield f"  left     {table.label}: {', '.join(table.properties_sent)}"
    yield "  stayed   " + ", ".join(f"{table.label} {name}" for table in result.tables for name in table.columns_kept)
    seconds = sum(table.seconds for table in result.tables)
    yield f"  time     {clock_text(seconds)}"


def _proof_line(proof: Verification) -> str:
    if proof.exit_code:
        return f"Verified, and it differs: {proof.sentence}"
    found = [f"{sum(getattr(table, name) for table in proof.tables):,} {name}" for name in ("rows", "vectors", "links")]
    return f"Verified: {', '.join(found)}; nothing is missing, too many or different, and no withheld text was found"


def print_record(view: RecordView) -> None:
    """One record, property by property."""
    print(f"{view.label} {view.key}   row in {view.table}: {'yes' if view.in_source else 'no'}")
    print(f"  record   {', '.join(view.record_ids) or 'none'}" + ("   DOUBLED" if len(view.record_ids) > 1 else ""))
    for name, value in sorted(view.properties.items()):
        print(f"  {name} = {value!r}")
    for name, there in view.vectors.items():
        print(f"  vector   {name}: {'yes' if there else 'no'}")
    for name, keys in view.links.items():
        print(f"  link     {name}: {', '.join(keys) or 'none'}")
    if view.reject:
        print(f"  rejected {view.reject}")
    for name, what in view.differences.items():
        print(f"  differs  {name}: {what}")


def print_status(result: Status) -> None:
    """Position of every table, and the last runs."""
    for table in result.tables:
        print(_status_line(table))
        for carrier in table.carriers:
            print(f"  {_carrier_line(carrier)}")
    for link in result.links:
        parts = [f"{link.stored:,} links stand"]
        parts += [f"{link.loose:,} to be made"] if link.loose else []
        parts += [f"{link.dangling:,} lead to no record"] if link.dangling else []
        print(f"{link.name}: {', '.join(parts)}")
        for source, target in link.nowhere:
            print(f"  {source} to {target}, which is no record")
    for run in result.runs:
        ended = "at work or killed" if run["exit_code"] is None else f"ended {run['exit_code']}"
        print(f"  run {run['id'][:8]}  {_moment(run['started_at'])}  {run['command']:<10} {ended}")
    for event in result.events:
        print(f"  {_moment(event['at'])}  {event['action']}  {json.dumps(event['fields'])}")


def _carrier_line(carrier: CarrierStatus) -> str:
    use = "which searches use" if carrier.live else "kept current beside them" if carrier.complete else "being filled"
    return f"{carrier.property_name}: {carrier.vectors:,} vectors by {carrier.model}, {use}"


def _status_line(table: TableStatus) -> str:
    if table.rows_planned is None:
        return f"{table.label}: not started"
    parts = [
        f"{table.rows_stored:,} of {table.rows_planned:,} rows stored, {table.ranges_done} of {table.ranges} ranges"
    ]
    parts += [f"{table.rejects:,} rejected"] if table.rejects else []
    parts += [f"{table.unsettled_batches} batches unsettled"] if table.unsettled_batches else []
    parts += _unfinished(table)
    parts += [f"synced {_moment(table.synced_at)}"] if table.synced_at is not None else []
    parts += [f"deletes last looked for {_moment(table.swept_at)}"] if table.swept_at is not None else []
    return f"{table.label}: " + ", ".join(parts)


def _unfinished(table: TableStatus) -> list[str]:
    told = ["an apply is under way, byov-migrate backfill goes on with it"] if table.applying else []
    if table.refilling:
        names = ", ".join(table.refilling)
        told.append(f"vectors of {names} are being made again, the next backfill or sync goes on with it")
    return told


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_model(description: Any) -> None:
    """What a model directory is, a fact a line."""
    for name, value in _plain(description).items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name:<20} {'none' if shown in (None, '') else shown}")


def print_conversion(result: ConvertResult) -> None:
    """What was converted, copied and left out, and how close the vectors are."""
    for word, names in (("converted", result.converted), ("copied", result.copied), ("left out", result.left_out)):
        for name in names:
            print(f"{word:<10} {name}")
    print(f"{result.tensors:,} tensors in {result.destination}")
    print(f"lowest cosine over {result.texts} texts, old against new: {result.lowest_cosine:.6f}")
    if not result.has_namespace:
        print("no network namespace could be made here: while the pickles were read, Python alone refused connections")


def print_rejects(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a rejected row: where, why, and the setting that would help."""
    for row in rows:
        column = f" {row['column']}" if row["column"] else ""
        setting = f"   try: {row['setting']}" if row["setting"] else ""
        print(f"{row['table_name']}  {row['key']}  {row['stage']}{column}: {row['code']}, {row['reason']}{setting}")
    print(f"{len(rows)} rejected rows", file=sys.stderr)


def print_retry(result: RetryResult) -> None:
    """What became of the rejects."""
    print(f"{result.stored:,} stored, {result.rejected:,} still rejected, {result.gone:,} gone from the source")


def print_accepted(count: int) -> None:
    """How many rejects were accepted."""
    print(f"{count:,} rejected rows accepted")


def print_backup(result: BackupResult) -> None:
    """What was copied where."""
    print(f"state {result.state_id[:8]}, generation {result.generation}, with its hash key: {result.file}")


def last_line(command: str, error: MigrationError) -> str:
    """Command, code, cause, state and next step of a run that did not end 0."""
    code = error.signal_exit_code if isinstance(error, Interrupted) else error.exit_code
    message = str(error)
    parts = [f"byov-migrate {command}: {code} {message}"]
    if code == 75 and not isinstance(error, Refused | RowRefused):
        parts.append("state consistent; nothing to do, the next run continues")
    if error.next_step:
        parts.append(error.next_step)
    return "; ".join(parts)


def complain(line: str, *, with_traceback: bool = False) -> None:
    """A line to stderr, below the traceback of the error that is being handled."""
    if with_traceback:
        traceback.print_exc()
    print(line, file=sys.stderr, flush=True)


def bug_line(command: str, error: BaseException) -> str:
    """The last line after a bug; the traceback stands above it."""
    return f"byov-migrate {command}: {BUG_CODE} a bug ({type(error).__name__}); please report it with the lines above"
