"""What a verify found and a repair did, for people, and the report as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byov_migrate.errors import DifferencesFound, MigrationError, PersonNeeded

if TYPE_CHECKING:
    from byov_migrate.jobs.repair import RepairResult, TableRepair
    from byov_migrate.jobs.verify import SampleProof, TableVerification, Verification
    from byov_migrate.jobs.verify.ranking import Agreement
    from byov_migrate.jobs.verify.results import Compared

SHOWN = 5
_TIERS: Mapping[str, tuple[str, ...]] = {
    "rows": ("missing", "extra", "doubled"),
    "values": ("values",),
    "vectors": ("vectors",),
    "links": ("links",),
    "text": ("text",),
}


def print_verify(result: Verification) -> None:
    """A block a table: what was compared, each tier's verdict, what is behind, the first differences by key."""
    for table in result.tables:
        for line in _lines(table, result):
            print(line)
    for compared in result.candidates:
        for line in _compared_lines(compared, result):
            print(line)


def _lines(table: TableVerification, result: Verification) -> Iterator[str]:
    links = f", {table.links:,} links" if table.links else ""
    yield f"{table.label}: {table.rows:,} rows, {table.records:,} records, {table.vectors:,} vectors{links}"
    for tier in _TIERS:
        yield f"  {tier:<9}{_tier(tier, table, result)}"
    yield from (f"  sample   {_proof(proof)}" for proof in table.proofs)
    if table.adopted and "vectors" not in result.skipped:
        since = "compared with what RushDB held when the state was rebuilt"
        yield f"  adopted  {table.adopted:,} vectors are {since}, not with what was sent"
    if behind := [f"{kind} {count:,}" for kind, count in table.behind.items() if count]:
        yield f"  behind   {', '.join(behind)}: the next sync takes care of them"
    if table.properties:
        named = sorted(table.properties.items(), key=lambda item: -item[1])
        yield "  differs  " + ", ".join(f"{name} in {count:,}" for name, count in named)
    yield from (f"  missing  {first} to {last} ({count:,} rows)" for first, last, count in table.ranges[:SHOWN])
    yield from _first_keys(table)
    if result.stopped:
        yield "  stopped  after as many differences as were asked for; there may be more"


def _tier(tier: str, table: TableVerification, result: Verification) -> str:
    if tier in result.skipped:
        return "skipped"
    found = [f"{kind} {count:,}" for kind, count in table.counts.items() if kind in _TIERS[tier] and count]
    return ", ".join(found) or ("not to the end" if result.stopped else "ok")


def _proof(proof: SampleProof) -> str:
    parts = []
    if proof.embedded_again is not None:
        cosine = "nothing" if proof.lowest_cosine is None else f"lowest cosine {proof.lowest_cosine:.5f}"
        parts.append(f"{proof.embedded_again} texts embedded again: {cosine}")
    if proof.recall is not None:
        parts.append(f"the index finds {proof.recall:.0%} of the ten nearest")
    return f"{proof.property_name}: {'; '.join(parts) or 'nothing to ask with'}"


def _compared_lines(compared: Compared, result: Verification) -> Iterator[str]:
    """A line for what it was asked by, the first with how far its vectors are proved."""
    asked = {"rows": compared.rows, "queries": compared.queries}
    told = [f"{found.asked:,} {what}: {_agreement(found)}" for what, found in asked.items() if found is not None]
    proved = f"; {_proved(compared, result)}"
    for line in told or [f"{compared.label}.{compared.embedding}: nothing to ask with"]:
        yield f"{_contest(compared)}, {line}{proved}"
        proved = ""


def _contest(compared: Compared) -> str:
    """By the models' names, and by properties where the configuration has one name for both."""
    if compared.model == compared.live_model:
        return f"{compared.model} ({compared.candidate}) against {compared.live_model} ({compared.live})"
    return f"{compared.model} against {compared.live_model}"


def _agreement(found: Agreement) -> str:
    parts = [f"same top 1 in {_percent(found.same_first)}", f"overlap of top 10 {10 * found.overlap:.1f} of 10"]
    parts += [f"what both find moves {found.rank_change:.1f} places"] if found.rank_change is not None else []
    parts += [f"the index finds {_percent(found.recall)} of the ten nearest"] if found.recall is not None else []
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _proved(compared: Compared, result: Verification) -> str:
    vectors = f"{compared.vectors:,} vectors"
    if "vectors" in result.skipped:
        return f"{vectors} not proved"
    differ = sum(table.counts["vectors"] for table in result.tables if table.label == compared.label)
    return f"{vectors}, differences above" if differ else f"all {vectors} proved"


def _first_keys(table: TableVerification) -> Iterator[str]:
    for item in table.differences[:SHOWN]:
        yield f"  {item.kind:<9}{item.key}" + (f": {item.what}" if item.what else "")
    if len(table.differences) > SHOWN:
        yield f"  and {len(table.differences) - SHOWN:,} more; all with: byov-migrate verify --out FILE"


def difference_of(result: Verification) -> DifferencesFound:
    """What the last line of a verify that ends 5 says."""
    return DifferencesFound(f"{result.sentence}; state consistent", next_step="byov-migrate sync --repair last")


def write_report(content: Mapping[str, Any], path: Path) -> None:
    """The report as JSON, readable by nobody else: it holds keys. Raise PersonNeeded when it cannot be written."""
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> MigrationError:
    return PersonNeeded(f"cannot write {path}: {error.strerror}")


def print_repair(result: RepairResult) -> None:
    """A line a table that was mended."""
    for table in result.tables:
        print(_repair_line(table))
    if not result.tables:
        print("the report holds no difference; nothing written")


def _repair_line(table: TableRepair) -> str:
    parts = [f"{table.keys:,} keys looked at, {table.created:,} made, {table.updated:,} rewritten"]
    parts += [f"{table.deleted:,} deleted"]
    parts += [f"{table.rejected:,} rejected"] if table.rejected else []
    parts += [f"{table.left:,} left alone: nothing shows that they were written here"] if table.left else []
    return f"{table.label}: {', '.join(parts)}; to see it proved: byov-migrate verify"
