"""What the page says first: whether it is good, and everything that qualifies it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from byov_migrate.jobs.evidence import Evidence

Mood: TypeAlias = Literal["good", "look", "bad"]
"""good: all was compared and is equal. look: nothing differs, and somebody should read why that is not all."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The first sentence, and what has to be read with it."""

    mood: Mood
    sentence: str
    notes: tuple[str, ...]


def judge(evidence: Evidence) -> Judgement:
    """The verdict of all tables."""
    found = evidence.found
    differing = sum(found.counts.values())
    wrong, doubts = list(_wrong(evidence)), list(_doubts(evidence))
    notes = (*wrong, *doubts, *_remarks(evidence))
    if differing:
        places = "1 difference" if differing == 1 else f"{differing:,} differences"
        return Judgement("bad", f"RushDB is not what PostgreSQL holds: {places}.", notes)
    if wrong:
        return Judgement("bad", "Something stands in RushDB that was to stay.", notes)
    if not any(table.rows or table.records for table in found.tables):
        return Judgement("look", "There was nothing to compare.", notes)
    if doubts:
        return Judgement("look", "What was compared is equal, and there is something to consider.", notes)
    return Judgement("good", "RushDB holds what PostgreSQL holds, and nothing that was to stay.", notes)


def _wrong(evidence: Evidence) -> Iterator[str]:
    for table in evidence.tables:
        for item in table.withheld:
            if item.filled:
                share = f"{item.filled:,} of {table.records.records:,} records"
                yield f"{table.label}: something stands in {item.name}, which was to stay or to be empty: {share}."


def _doubts(evidence: Evidence) -> Iterator[str]:
    found = evidence.found
    if found.skipped:
        yield f"Left out on request, so nothing is known of: {', '.join(found.skipped)}."
    if found.stopped:
        yield "Ended early on request, once enough differences were found; there may be more."
    if evidence.kind == "sandbox":
        yield "The target is the sandbox that comes with byov-migrate. It is not RushDB."
    carried_out = [run.digest for run in evidence.runs if run.digest is not None]
    if carried_out and carried_out[-1] != evidence.digest:
        yield f"The last run carried out plan {carried_out[-1]}; the configuration is now plan {evidence.digest}."


def _remarks(evidence: Evidence) -> Iterator[str]:
    behind = sum(sum(table.behind.values()) for table in evidence.found.tables)
    if behind:
        yield f"{behind:,} changes are newer than the last sync; the next one takes care of them."
    others = {run.digest for run in evidence.runs} - {None, evidence.digest}
    if others:
        yield f"Earlier runs carried out other plans: {', '.join(sorted(filter(None, others)))}."
    for table in evidence.tables:
        if table.rejects or table.accepted:
            yield f"{table.label}: {table.rejects:,} rows were rejected and {table.accepted:,} more accepted as such."
