"""The parts of the page, each from the evidence to HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from byov_migrate.report.evidence.judging import Judgement
from byov_migrate.report.evidence.markup import Content, Markup, described, element, figure, joined, moment, table
from byov_migrate.report.live import clock_text

if TYPE_CHECKING:
    from byov_migrate.jobs.evidence import Answer, EmbeddingEvidence, Evidence, RunEvidence, TableEvidence, Withheld
    from byov_migrate.jobs.verify import TableVerification

LISTED = 12
RUNS_LISTED = 6
SIZES = {
    "rows": "in PostgreSQL, as the configuration selects them",
    "records": "in RushDB that byov-migrate wrote",
    "vectors": "that there should be",
}
KINDS: Mapping[str, tuple[str, str]] = {
    "missing": ("rows", "rows without a record"),
    "extra": ("rows", "records without a row"),
    "doubled": ("rows", "keys with more than one record"),
    "values": ("values", "records that say something else than their row"),
    "vectors": ("vectors", "vectors that are missing or not those that were made"),
    "links": ("links", "links that are missing or too many"),
    "text": ("text", "records that hold what was to stay, or a name nobody allowed"),
}


def verdict(judgement: Judgement) -> Markup:
    """The first thing that is read."""
    notes = element("ul", [element("li", note) for note in judgement.notes]) if judgement.notes else ""
    sentence, look = element("p", judgement.sentence), f"verdict {judgement.mood}"
    return element("section", sentence, notes, class_=look, aria_label="Verdict")


def counts(evidence: Evidence) -> Markup:
    """What was compared and what differs, a column a table."""
    tables = list(enumerate(evidence.found.tables))
    rows: list[list[Content]] = [
        [name, words, *(figure(getattr(item, name), path=f"tables.{n}.{name}") for n, item in tables)]
        for name, words in SIZES.items()
    ]
    for kind, (tier, words) in KINDS.items():
        if kind != "links" or any(item.counts.get("links") for _, item in tables):
            is_known = tier not in evidence.found.skipped
            cells = [_count(item, n, kind) if is_known else "not compared" for n, item in tables]
            rows.append([kind, words, *cells])
    rows.append(["behind", "differences that the next sync takes care of", *(_behind(item, n) for n, item in tables)])
    names = [element("span", item.label, " ", element("small", f"of {item.table}")) for _, item in tables]
    return joined(
        element("h2", "What was compared"), table("Sizes, and differences by kind", ["Count", "Of what", *names], rows)
    )


def _count(item: TableVerification, number: int, kind: str) -> Markup:
    count = {str(name): value for name, value in item.counts.items()}.get(kind, 0)
    shown = figure(count, path=f"tables.{number}.counts.{kind}")
    return element("span", shown, class_="differs") if count else shown


def _behind(item: TableVerification, number: int) -> Markup:
    found = [
        joined(f"{kind} ", figure(count, path=f"tables.{number}.behind.{kind}"), " ")
        for kind, count in item.behind.items()
        if count
    ]
    return joined(found or "none")


def differences(evidence: Evidence) -> Markup:
    """The first keys that differ; nothing when none does."""
    parts: list[Content] = []
    for item in evidence.found.tables:
        if item.differences:
            shown = item.differences[:LISTED]
            caption = f"{item.label}: the first {len(shown):,} of {item.total:,}; all of them with verify --out FILE"
            rows = [[one.key, one.kind, one.what] for one in shown]
            parts.append(table(caption, ["Key", "Kind", "What differs"], rows))
    return joined(element("h2", "What differs"), element("div", parts, class_="differences")) if parts else Markup()


def left_and_stayed(evidence: Evidence) -> Markup:
    """What RushDB holds of each property that may leave, and of each that may not."""
    parts = [_sent(item) + _withheld(item) for item in evidence.tables]
    words = "Counted in RushDB after the comparison, by the queries shown. Vectors and links hang on these records."
    return joined(element("h2", "What left and what stayed"), element("p", words), [Markup(part) for part in parts])


def _sent(item: TableEvidence) -> Markup:
    first = item.sent[0].there.at if item.sent else item.records.at
    last = item.sent[-1].there.at if item.sent else item.records.at
    asked = {**item.records.where, "PROPERTY": {"$exists": True}}
    caption = joined(
        f"{item.label}: what left. Of ",
        figure(item.records.records),
        " records so many have the property, asked from ",
        moment(first),
        " to ",
        moment(last),
        " with ",
        element("code", _document(asked)),
    )
    rows = [[sent.property_name, sent.origin, figure(sent.there.records)] for sent in item.sent]
    return table(caption, ["Property", "Comes from", "Records"], rows)


def _withheld(item: TableEvidence) -> Markup:
    if not item.withheld:
        return element("p", f"{item.label}: nothing is read that does not leave.")
    caption = f"{item.label}: what stayed. Nothing may stand there"
    rows = [[one.name, one.origin, _filled(one), _asked(one)] for one in item.withheld]
    return table(caption, ["Name", "What it is", "Records with something in it", "Asked of RushDB"], rows, stacked=True)


def _filled(item: Withheld) -> Content:
    if item.filled is None:
        return "not asked"
    shown = figure(item.filled)
    return element("span", shown, class_="differs") if item.filled else shown


def _asked(item: Withheld) -> Content:
    if item.there is None:
        return "another property leaves under this name, or none can have it"
    lines = [_answer(item.there, "have it")]
    if item.empty is not None:
        lines.append(_answer(item.empty, "hold an empty string"))
    return lines


def _answer(answer: Answer, words: str) -> Markup:
    line = (figure(answer.records), f" {words}: ", element("code", _document(answer.where)), " ", moment(answer.at))
    return element("div", *line)


def _document(where: Mapping[str, Any]) -> str:
    return json.dumps(where, ensure_ascii=False)


def models(evidence: Evidence) -> Markup:
    """Which model made the vectors of each embedding, and what a sample of them showed."""
    parts = [
        joined(element("h3", f"{item.label}.{one.property_name}"), described(_embedding(evidence, number, item, one)))
        for number, item in enumerate(evidence.tables)
        for one in item.embeddings
    ]
    return joined(element("h2", "The vectors"), parts) if parts else Markup()


def _embedding(
    evidence: Evidence, number: int, item: TableEvidence, one: EmbeddingEvidence
) -> Iterator[tuple[str, Content]]:
    yield "Made from", f"{'ready vectors in' if one.is_ready else 'text of'} {', '.join(one.columns)}"
    yield "Model", "none: the vectors were there" if one.is_ready else str(one.model)
    if one.fingerprint:
        yield "Fingerprint of its files", element("code", one.fingerprint)
    if one.dimension is not None:
        yield "Dimension, similarity", joined(figure(one.dimension), f", {one.similarity}")
    if one.window is not None:
        yield "Window", joined("reads ", figure(one.window), f" tokens; longer texts: {one.long_text}")
    if one.vectors is not None:
        yield "Vectors that RushDB counts", joined(figure(one.vectors), ", ", moment(one.at))
    yield from _proofs(evidence, number, item, one.property_name)


def _proofs(evidence: Evidence, number: int, item: TableEvidence, name: str) -> Iterator[tuple[str, Content]]:
    found = next((one for one in evidence.found.tables if one.table == item.table), None)
    for place, proof in enumerate(found.proofs if found else ()):
        path = f"tables.{number}.proofs.{place}"
        if proof.property_name != name:
            continue
        if proof.embedded_again is not None and proof.lowest_cosine is not None:
            again = figure(proof.embedded_again, path=f"{path}.embedded_again")
            lowest = figure(proof.lowest_cosine, path=f"{path}.lowest_cosine", shown=f"{proof.lowest_cosine:.5f}")
            yield "Embedded again", joined(again, " texts, lowest cosine with what is stored ", lowest)
        if proof.recall is not None:
            shown = figure(proof.recall, path=f"{path}.recall", shown=f"{proof.recall:.1%}")
            yield "Recall@10 of the index", joined(shown, " of the ten nearest by exact search")


def origins(evidence: Evidence) -> Markup:
    """From where to where, when, by which plan."""
    found, kinds = evidence.found, {"platform": "RushDB, self-hosted", "cloud": "RushDB Cloud"}
    version = f"PostgreSQL {evidence.server_version // 10000}"
    began = joined(moment(found.began), f", {clock_text(found.seconds)} of work")
    pairs: list[tuple[str, Content]] = [
        ("Plan digest, as in byov-migrate plan", element("code", evidence.digest)),
        ("Read from", f"database {evidence.database}, {version}, system {evidence.system}"),
        ("Written to", f"{evidence.url} ({kinds.get(evidence.kind, 'sandbox, not RushDB')})"),
        ("Project", evidence.project or "not known: no index names it"),
        ("State", found.state_id),
        ("Verified", began),
    ]
    read = [(f"Columns read of {item.table}", _read(item)) for item in evidence.tables]
    return joined(element("h2", "Where, when and by which plan"), described([*pairs, *read]))


def _read(item: TableEvidence) -> str:
    filters = f"; only rows where: {', '.join(item.filters)} (values: in the configuration)" if item.filters else ""
    return ", ".join(item.columns) + filters


def runs(evidence: Evidence) -> Markup:
    """The last runs and the plan that each carried out."""
    shown = list(reversed(evidence.runs))[:RUNS_LISTED]
    if not shown:
        return Markup()
    head = ["Began", "Command", "Ended", "Rows written", "Deleted", "Plan digest"]
    listed = table("Newest first", head, [_run(run) for run in shown], stacked=True)
    return joined(element("h2", "The last runs"), listed)


def _run(run: RunEvidence) -> list[Content]:
    ended = "at work or killed" if run.exit_code is None else f"with {run.exit_code}"
    digest: Content = element("code", run.digest) if run.digest else "none noted"
    return [moment(run.started_at), run.command, ended, figure(run.rows), figure(run.deleted), digest]
