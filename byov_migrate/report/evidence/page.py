"""The page as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING

from byov_migrate.report.evidence import plots, sections
from byov_migrate.report.evidence.judging import judge
from byov_migrate.report.evidence.markup import Content, Markup, element, figure, joined, moment

if TYPE_CHECKING:
    from byov_migrate.jobs.evidence import EmbeddingEvidence, Evidence

# Whatever a name in it may hold: a browser runs nothing and fetches nothing of this page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
RATES_DRAWN = 24


def render(evidence: Evidence) -> str:
    """One HTML document. Needs matplotlib."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", f"Evidence: {evidence.name}"),
        element("style", Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', element('main', _body(evidence))), lang='en')}\n"


def _body(evidence: Evidence) -> Markup:
    byline = joined(f"{evidence.url}, ", moment(evidence.made_at), ", plan ", element("code", evidence.digest))
    return joined(
        element("h1", f"Evidence of what {evidence.name} moved to RushDB"),
        element("p", byline, class_="byline"),
        sections.verdict(judge(evidence)),
        sections.counts(evidence),
        sections.differences(evidence),
        sections.left_and_stayed(evidence),
        element("p", evidence.notice, class_="notice"),
        sections.models(evidence),
        element("h2", "To look at"),
        element("div", list(_pictures(evidence)), class_="pictures"),
        sections.origins(evidence),
        sections.runs(evidence),
        element("div", [element("span", word) for word in ("Name", "Date", "Signature")], class_="signature"),
    )


def _pictures(evidence: Evidence) -> Iterator[Markup]:
    yield _rates(evidence)
    for number, item in enumerate(evidence.tables):
        for place, one in enumerate(item.embeddings):
            name, title = f"p{number}-{place}", f"{item.label}.{one.property_name}"
            yield _lengths(one, f"{name}-lengths", title)
            yield _scores(one, f"{name}-scores", title)


def _rates(evidence: Evidence) -> Markup:
    rates = [(run.started_at, run.rate) for run in evidence.runs if run.rate is not None][-RATES_DRAWN:]
    if not rates:
        return _figure(None, "Rate over time: no run that ended has written a row.")
    last, best = rates[-1][1], max(rate for _, rate in rates)
    summary = f"Rate over time: {len(rates)} runs, the fastest {best:,.1f} and the last {last:,.1f} rows a second."
    return _figure(plots.draw_rates(rates, "rates", summary), summary)


def _lengths(one: EmbeddingEvidence, name: str, title: str) -> Markup:
    found = one.lengths
    if found is None or not found.tokens:
        why = "ready vectors, so no text was cut here" if one.is_ready else "not measured"
        return _figure(None, f"{title}, tokens: {why}.")
    summary = f"Token lengths of {len(found.tokens):,} texts drawn from {found.rows:,} rows."
    numbers = joined(
        f"{title}: tokens of ",
        figure(len(found.tokens)),
        f" texts drawn from {found.rows:,} rows, median {median(found.tokens):,.0f}, longest ",
        figure(max(found.tokens)),
        "; ",
        figure(found.long),
        f" ({found.long / len(found.tokens):.1%}) are longer than the model reads.",
    )
    return _figure(plots.draw_lengths(found.tokens, found.window, name, summary), numbers)


def _scores(one: EmbeddingEvidence, name: str, title: str) -> Markup:
    count = sum(one.scores[0].values()) if one.scores else 0
    if not count:
        return _figure(None, f"{title}, scores: no vector is proved to be stored.")
    summary = f"Scores of {count:,} vectors against three fixed directions."
    words = (
        f"{title}: scores of ",
        figure(count),
        " vectors against three fixed directions, as proved when they were sent. ",
        "A heap of its own would be another model's vectors.",
    )
    return _figure(plots.draw_scores(one.scores, one.score_bins, name, summary), joined(*words))


def _figure(picture: Markup | None, caption: Content) -> Markup:
    return element("figure", picture or "", element("figcaption", caption))
