"""What a verify found, as a value and as a document that a repair reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from byov_migrate.errors import ConfigurationError, DifferencesFound
from byov_migrate.jobs.verify.ranking import Agreement
from byov_migrate.state.comparison import KINDS, Difference, Kind

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SampleProof:
    """What was found by embedding again and by asking the index. None: not asked, there was nothing to ask with.

    recall: share of the ten nearest that the index finds too, over a fixed set of stored vectors.
    """

    property_name: str
    embedded_again: int | None
    lowest_cosine: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class TableVerification:
    """One table's proof. counts: by kind, 0 included. behind: keys by kind that the next sync takes care of.

    properties: name -> keys in which it differs, as far as they were looked at twice. ranges: of the missing keys, in
    the source's order.
    """

    table: str
    label: str
    rows: int
    records: int
    vectors: int
    counts: Mapping[Kind, int]
    behind: Mapping[Kind, int]
    differences: tuple[Difference, ...]
    unlooked: int
    properties: Mapping[str, int]
    ranges: tuple[tuple[str, str, int], ...]
    proofs: tuple[SampleProof, ...]
    links: int = 0  # that the source implies
    adopted: int = 0  # of the vectors: compared with what RushDB itself said when the state was rebuilt

    @property
    def total(self) -> int:
        """All differences."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Compared:
    """The vectors of one embedding that searches do not use, the candidate, against those that they do.

    live, candidate: the properties. live_model, model: what made their vectors. vectors: how many the candidate has, as
    the state knows. rows, queries: by which both were asked; None when there was nothing to ask with.
    """

    table: str
    label: str
    embedding: str
    live: str
    live_model: str
    candidate: str
    model: str
    vectors: int
    rows: Agreement | None
    queries: Agreement | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole proof. skipped: tiers that were left out. stopped: ended early, as asked, with differences.

    candidates: how they compare, when that was asked for; no difference.
    """

    state_id: str
    began: float
    seconds: float
    skipped: tuple[str, ...]
    stopped: bool
    tables: tuple[TableVerification, ...] = field(default=())
    candidates: tuple[Compared, ...] = ()

    @property
    def counts(self) -> dict[Kind, int]:
        """Differences by kind, over all tables."""
        return {kind: sum(table.counts.get(kind, 0) for table in self.tables) for kind in KINDS}

    @property
    def exit_code(self) -> int:
        """5 when anything differs."""
        return DifferencesFound.exit_code if any(self.counts.values()) else 0

    @property
    def sentence(self) -> str:
        """All kinds and their numbers."""
        return ", ".join(f"{kind} {count:,}" for kind, count in self.counts.items())


def to_report(result: Verification) -> dict[str, Any]:
    """As JSON values: what `sync --repair` reads. Keys and names of properties, never a value."""
    return {
        "format": FORMAT,
        "state": result.state_id,
        "began": result.began,
        "seconds": round(result.seconds, 3),
        "skipped": list(result.skipped),
        "stopped": result.stopped,
        "tables": [_table_report(table) for table in result.tables],
        "candidates": [_candidate_report(compared) for compared in result.candidates],
    }


def _table_report(table: TableVerification) -> dict[str, Any]:
    keys: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for item in table.differences:
        before = keys[item.kind].get(item.key)
        keys[item.kind][item.key] = f"{before}; {item.what}" if before else item.what
    return {
        "table": table.table,
        "label": table.label,
        "rows": table.rows,
        "records": table.records,
        "vectors": table.vectors,
        "adopted": table.adopted,
        "links": table.links,
        "counts": dict(table.counts),
        "behind": dict(table.behind),
        "unlooked": table.unlooked,
        "properties": dict(table.properties),
        "missing_ranges": [list(part) for part in table.ranges],
        "keys": keys,
        "samples": [
            {
                "property": proof.property_name,
                "embedded_again": proof.embedded_again,
                "lowest_cosine": proof.lowest_cosine,
                "recall_at_10": proof.recall,
            }
            for proof in table.proofs
        ],
    }


def _candidate_report(compared: Compared) -> dict[str, Any]:
    return {
        "table": compared.table,
        "label": compared.label,
        "embedding": compared.embedding,
        "live": {"property": compared.live, "model": compared.live_model},
        "candidate": {"property": compared.candidate, "model": compared.model, "vectors": compared.vectors},
        "rows": _agreement_report(compared.rows),
        "queries": _agreement_report(compared.queries),
    }


def _agreement_report(found: Agreement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "asked": found.asked,
        "same_top_1": found.same_first,
        "overlap_at_10": found.overlap,
        "rank_change": found.rank_change,
        "recall_at_10": found.recall,
    }


def reported_keys(report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Table -> every key that differs. Raise ConfigurationError for what is no report of `verify`."""
    try:
        if report["format"] != FORMAT:
            raise ConfigurationError(f"the report has format {report['format']}, and this version knows {FORMAT}")
        return {table["table"]: _all_keys(table["keys"]) for table in report["tables"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError("this is no report of byov-migrate verify") from error


def keys_to_relink(report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Table -> keys of which nothing but links differs: their records need not be written again."""
    found = {}
    for table in report["tables"]:
        keys = table["keys"]
        others = {key for kind, some in keys.items() if kind != "links" for key in some}
        found[table["table"]] = [
            key for key, what in keys.get("links", {}).items() if key not in others and "byovRef_" not in what
        ]
    return found


def _all_keys(keys: Mapping[str, Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for some in keys.values() for key in some))


def read_report(path: Path) -> dict[str, Any]:
    """The report in a file. Raise ConfigurationError when it cannot be read."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is not JSON") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} is no report of byov-migrate verify")
    return content


def compacted(places: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """Keys with their numbers in the source's order -> first key, last key and length of each unbroken run."""
    run: list[tuple[int, str]] = []
    for number, key in sorted((number, key) for key, number in places.items()):
        if run and number != run[-1][0] + 1:
            yield run[0][1], run[-1][1], len(run)
            run = []
        run.append((number, key))
    if run:
        yield run[0][1], run[-1][1], len(run)


def property_counts(differences: Iterable[Difference], known: Collection[str]) -> dict[str, int]:
    """In how many keys each of these properties differs."""
    counts: dict[str, int] = {}
    for item in differences:
        for name in item.what.split(", ") if item.kind == "values" else ():
            if name in known:
                counts[name] = counts.get(name, 0) + 1
    return counts
