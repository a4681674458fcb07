"""A plan for people: how much, how long, what leaves, what stays, what was changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from byov_migrate.errors import ConfigurationError
from byov_migrate.report.live import clock_text, size_text

if TYPE_CHECKING:
    from byov_migrate.jobs.plan import PlanResult, TablePlan
    from byov_migrate.jobs.planning.arithmetic import Estimate
    from byov_migrate.jobs.planning.looking import Change, StateLook, TargetLook
    from byov_migrate.jobs.planning.overlap import Overlap
    from byov_migrate.jobs.planning.relations import LinkPlan
    from byov_migrate.jobs.planning.texts import EmbeddingForecast
    from byov_migrate.jobs.planning.usage import Usage

CLASSES = {
    "apply": "apply: only what changed has to be written",
    "re-embed": "re-embed: the texts have to be embedded again",
    "re-identify": "re-identify: the same migration at another place, to be accepted by name",
    "another": "another migration: refused with this state",
}
_SECONDS_SHOWN = 600
_BUSY = 0.1


def print_plan(result: PlanResult) -> None:
    """A block a table, then what holds for all of them."""
    for table in result.tables:
        for line in _table(table):
            print(line)
    for link in result.links:
        for line in _link(link):
            print(line)
    for line in _whole(result):
        print(line)


def _table(table: TablePlan) -> Iterator[str]:
    rows = "values" if table.is_node else "rows"
    yield f"{table.label}: {table.rows:,} {rows} of {table.table}{_stored(table)}"
    for item in table.embeddings:
        yield f"  texts    {item.property_name}: {_texts(item)}"
    yield f"  time     {_time(table)}"
    out, state = size_text(table.bytes_out), size_text(table.state_bytes)
    yield f"  out      {out} in about {table.requests:,} requests; state {state}"
    yield from _leaving(table)
    for column in table.staying:
        yield f"  stays    {column}"
    yield from (f"  check    {_overlap(item)}" for item in table.overlaps if item.rows)
    if table.overlaps and not any(item.rows for item in table.overlaps):
        yield f"  check    no column repeats 8-word runs of what stays, in {table.sampled:,} rows: fine"
    for reject in table.rejects:
        where = f" {reject.column}" if reject.column else ""
        yield f"  rejects  {_percent(reject.share)} of the rows{where}: {reject.code}" + _try(reject.setting)
    yield from (f"  warning  {warning}" for warning in table.warnings)


def _link(link: LinkPlan) -> Iterator[str]:
    way = f"carried by {link.source} as {link.ref_property}" if link.carried else "read as pairs"
    yield (
        f"{link.name}: {_count(link.links)} links to {link.target}{_plus_minus(link.links)}, {way},"
        f" at most {link.requests:,} requests; state {size_text(link.state_bytes)}"
    )
    if link.seconds.value:
        yield f"  time     {_duration(link.seconds)} after the records (assumed)"
    for item in link.leaving:
        yield f"  leaves   {item.property_name:<24} {item.origin}, as a property of the link"


def _stored(table: TablePlan) -> str:
    return f", {table.stored:,} of them stored already" if table.stored else ""


def _texts(item: EmbeddingForecast) -> str:
    if item.model is None:
        return f"{_count(item.texts)} ready vectors of {item.dimension or '?'} dimensions"
    tokens = f"{_count(item.tokens)} tokens{_plus_minus(item.tokens)}"
    return f"{_count(item.texts)} texts, {tokens}, {_percent(item.long)} {_fate(item)}"


def _fate(item: EmbeddingForecast) -> str:
    word = {"truncate": "truncated at", "mean": "in windows of", "reject": "rejected beyond"}[item.long_text]
    return f"{word} {item.window}"


def _time(table: TablePlan) -> str:
    timing, parts = table.timing, [_duration(table.timing.seconds)]
    for item in table.embeddings:
        if item.tokens_a_second:
            place = f"on {item.device} in {item.dtype}"
            parts.append(f"{item.tokens_a_second:,.0f} tokens/s measured {place} with model {item.model}{_busy(item)}")
    if timing.seconds.value:
        parts.append(f"{timing.slowest} is the slowest stage")
        parts.append(f"RushDB needs {_duration(timing.writing)} of that (assumed)")
    return "; ".join(parts)


def _busy(item: EmbeddingForecast) -> str:
    """What others took; the interval reaches down to a machine without them."""
    taken = 1 - item.processor_share
    return f" while other programs took {taken:.0%} of the processor time it could have used" if taken > _BUSY else ""


def _leaving(table: TablePlan) -> Iterator[str]:
    example = table.example or {}
    for item in table.leaving:
        shown = example.get(item.property_name)
        masked = f"   as in {shown.type} {shown.shape}".rstrip() if shown else ""
        yield f"  leaves   {item.property_name:<24} {item.origin}{masked}"
    for vector in table.vectors:
        yield f"  vectors  {vector}"


def _overlap(item: Overlap) -> str:
    words = f"{item.column} repeats 8-word runs of {', '.join(item.withheld)} in {item.share:.1%} of rows"
    if item.is_refused:
        return f"{words}: too many"
    return f"{words}: allowed" if item.is_allowed else f"{words}: fine"


def _try(setting: str | None) -> str:
    return f"   try: {setting}" if setting else ""


def _whole(result: PlanResult) -> Iterator[str]:
    yield f"Backfill {_duration(result.seconds)}, from start to end, 9 times in 10 on a machine as busy as now"
    yield from _target(result.target)
    yield from _state(result.state)
    if result.usage is not None:
        yield f"Cloud    {_usage(result.usage)}"
    yield f"{result.notice}   digest {result.digest}"


def _target(target: TargetLook) -> Iterator[str]:
    if target.kind is None:
        yield f"Target   not reached ({target.problem}); its times are assumed, those of a self-hosted platform"
    else:
        trip = f"{(target.round_trip_s or 0) * 1000:.0f} ms there and back measured"
        yield f"Target   {target.kind}, {trip}; what it needs for a row is assumed: nothing was written to measure it"


def _state(state: StateLook) -> Iterator[str]:
    if not state.exists:
        yield "State    none yet: everything is to be done"
    elif state.problem:
        yield f"State    not compared: {state.problem}"
    elif not state.changes:
        yield "State    written with these settings"
    for change in state.changes:
        yield f"Changed  {_change(change)}"
    for table, count in state.to_clear.items():
        yield f"Clears   {table}: {count:,} unchanged texts would be embedded again: clearing a value costs a vector"


def _change(change: Change) -> str:
    return f"{change.meaning} [{CLASSES[change.change]}]"


def _usage(usage: Usage) -> str:
    held = ", ".join(f"{name} holds {units:,} a month" for name, units in usage.holds.items())
    counts = (
        f"{usage.records:,} records, {usage.nodes:,} of them nodes, {usage.links:,} links, {usage.vectors:,} vectors"
    )
    return f"{counts}; about {usage.units:,} units for the records (an estimate); {held}"


def refusal_of(result: PlanResult) -> ConfigurationError:
    """What the last line says of a plan that ends 2."""
    found = [
        f"column {item.column} of {table.table} repeats text of {', '.join(item.withheld)} in {item.share:.1%} of"
        " the sampled rows"
        for table, item in result.refused
    ]
    names = ", ".join(f'"{item.column}"' for _, item in result.refused)
    return ConfigurationError(
        "; ".join(found),
        next_step=f"take it out of columns, or if it may leave: allow_overlap = [{names}] in its [[tables]]",
    )


def _count(estimate: Estimate) -> str:
    if estimate.is_exact:
        return f"{estimate.value:,.0f}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if estimate.value >= size:
            scale = 1e3 if unit == "k" else size
            return f"about {estimate.value / scale:,.{0 if estimate.value >= 10 * scale else 1}f} {unit}"
    return f"about {estimate.value:,.0f}"


def _plus_minus(estimate: Estimate) -> str:
    return "" if estimate.is_exact else f" (±{estimate.share * 100:.1f} %)"


def _percent(estimate: Estimate) -> str:
    if estimate.is_exact:
        return f"{estimate.value * 100:.1f} %"
    return f"{estimate.value * 100:.1f} % ({estimate.low * 100:.1f} to {estimate.high * 100:.1f})"


def _duration(estimate: Estimate) -> str:
    if estimate.is_exact:
        return _clock(estimate.value)
    return f"{_clock(estimate.value)} ({_clock(estimate.low)} to {_clock(estimate.high)})"


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _SECONDS_SHOWN / 10 else clock_text(seconds)
