"""Evidence made up for a page: of a table, moved well unless changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from byov_migrate.jobs.evidence import (
    Answer,
    EmbeddingEvidence,
    Evidence,
    RunEvidence,
    Sent,
    TableEvidence,
    TokenLengths,
    Withheld,
)
from byov_migrate.jobs.verify import SampleProof, TableVerification, Verification
from byov_migrate.state.comparison import KINDS, Difference

AT = 1_760_000_000.0
ROWS = 20_000
DIGEST = "7c1e90ab12cd"
COLUMNS = ("title", "company", "location", "salaryMin", "salaryMax")
OURS = ("byovKey", "byovHash", "byovBatch", "byovSlice", "description", "descriptionAlt", "byovText_description")


def made_evidence(*differences: Difference, **changed: Any) -> Evidence:
    """One table with one embedding. differences: what verify found. changed: fields of the evidence."""
    evidence = Evidence(
        name="jobs",
        made_at=AT + 60,
        digest=DIGEST,
        database="jobs",
        system="7711841336190291867",
        server_version=150008,
        url="https://rushdb.example.org",
        kind="platform",
        project="01a2b3c4",
        tables=(made_table(),),
        runs=tuple(made_run(number) for number in range(8)),
        found=made_verification(*differences),
    )
    return replace(evidence, **changed)


def made_verification(*differences: Difference, **changed: Any) -> Verification:
    """A verify that took a minute."""
    counts = {kind: sum(item.kind == kind for item in differences) for kind in KINDS}
    table = TableVerification(
        table="public.job",
        label="Job",
        rows=ROWS,
        records=ROWS - counts["missing"],
        vectors=ROWS - 9,
        counts=counts,
        behind=dict.fromkeys(KINDS, 0),
        differences=differences,
        unlooked=0,
        properties={},
        ranges=(),
        proofs=(SampleProof("description", 24, 0.99999, 0.985),),
    )
    return replace(Verification("860937e1", AT, 61.5, (), stopped=False, tables=(table,)), **changed)


def made_table(**changed: Any) -> TableEvidence:
    """What RushDB says of 20,000 records, nine of them without a text."""
    sent = tuple(Sent(name, "column x", answer({name: {"$exists": True}})) for name in (*COLUMNS, *OURS))
    empty = answer({"description": {"$in": [""]}})
    plain = TableEvidence(
        table="public.job",
        label="Job",
        columns=("id", *COLUMNS, "description"),
        filters=("status =",),
        records=answer({}),
        sent=sent,
        withheld=(
            Withheld(
                "description", "property that carries a vector", answer({"description": {"$exists": True}}), empty
            ),
            Withheld("contact", "column that stays", replace(answer({"contact": {"$exists": True}}), records=0)),
        ),
        embeddings=(made_embedding(),),
        rejects=0,
        accepted=0,
    )
    return replace(plain, **changed)


def answer(condition: dict[str, Any]) -> Answer:
    """All records match."""
    return Answer({"byovKey": {"$exists": True}, **condition}, ROWS, AT + 30)


def made_embedding() -> EmbeddingEvidence:
    """Lengths and scores as a model of 768 dimensions gives them."""
    random = Random(4)  # noqa: S311 - a picture needs some numbers
    tokens = tuple(int(random.lognormvariate(5.6, 0.5)) + 4 for _ in range(2000))
    scores = []
    for middle in (0.49, 0.505, 0.515):
        drawn = [int(random.gauss(middle, 0.012) * 1000) for _ in range(ROWS - 9)]
        scores.append(dict(sorted(Counter(drawn).items())))
    return EmbeddingEvidence(
        property_name="description",
        columns=("title", "description"),
        is_ready=False,
        model="jobs",
        fingerprint="5f0c2a9e81d3" * 5 + "abcd",
        dimension=768,
        window=512,
        long_text="truncate",
        similarity="cosine",
        vectors=ROWS - 9,
        at=AT + 40,
        lengths=TokenLengths(tokens, ROWS, 512),
        scores=tuple(scores),
    )


def made_run(number: int) -> RunEvidence:
    """A backfill, then syncs every hour."""
    began = AT - 3600 * (9 - number)
    if number == 0:
        return RunEvidence("a" * 32, "backfill", began, began + 900, 0, DIGEST, ROWS, 0, 890.0)
    return RunEvidence(f"{number}" * 32, "sync", began, began + 9, 0, DIGEST, 40 + number, 2, 4.0 + number / 3)
