"""The pictures, drawn by matplotlib as SVG that stands in the page and takes its colours from it.

They hold numbers and fixed words; names stand in the captions, where they are escaped.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from byov_migrate.report.evidence.markup import Markup, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN = 3.5, 2.0
LENGTH_BINS = 30
# Colours that nobody would choose, each to be replaced by what the page calls so.
_INK, _MUTED, _ACCENT, _WARN = "#010203", "#040506", "#070809", "#0a0b0c"
_PALETTE = {_INK: "var(--ink)", _MUTED: "var(--muted)", _ACCENT: "var(--accent)", _WARN: "var(--bad)"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "byov",
    "font.size": 8.0,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw_rates(rates: Sequence[tuple[float, float]], name: str, summary: str) -> Markup:
    """A bar a run. rates: when it began, in seconds since 1970, and rows a second, oldest first."""
    with _drawing(name, summary) as (axes, finish):
        axes.bar(range(len(rates)), [rate for _, rate in rates], color=_ACCENT, width=0.7)
        places = sorted({0, len(rates) - 1})
        axes.set_xticks(places, [_day(rates[place][0]) for place in places])
        axes.set_xlim(-0.9, max(len(rates), 3) - 0.1)
        axes.set_ylabel("rows a second")
        axes.set_xlabel("runs that wrote, by their beginning (UTC)")
    return finish()


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")


def draw_lengths(tokens: Sequence[int], window: int, name: str, summary: str) -> Markup:
    """How many texts have how many tokens, with the model's limit."""
    with _drawing(name, summary) as (axes, finish):
        top = max(*tokens, window)
        axes.hist(tokens, bins=LENGTH_BINS, range=(0, top * 1.02), color=_ACCENT)
        axes.axvline(window, color=_WARN, linestyle="--", linewidth=1.2)
        is_right = window > top / 2
        axes.annotate(
            f"model reads {window}",
            (window, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if is_right else 3, 2),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="bottom",
            color=_WARN,
        )
        axes.set_ylabel("texts")
        axes.set_xlabel("tokens")
    return finish()


def draw_scores(scores: Sequence[Mapping[int, int]], bins: int, name: str, summary: str) -> Markup:
    """How many vectors have which score, a line a probe. scores: number of a bin, of `bins` from 0 to 1 -> count."""
    with _drawing(name, summary) as (axes, finish):
        places = [place for counted in scores for place in counted]
        step = max(1, (max(places) - min(places)) // 40)
        first, last = min(places) // step - 1, max(places) // step + 2
        for number, (counted, style) in enumerate(zip(scores, ("-", "--", ":"), strict=False)):
            heights = np.zeros(last - first, dtype=int)
            for place, count in counted.items():
                heights[place // step - first] += count
            edges = np.arange(first, last + 1) * step / bins
            label = f"probe {number}"
            axes.stairs(heights, edges, color=_ACCENT if number < 2 else _INK, linestyle=style, label=label)
        axes.set_ylabel("vectors")
        axes.set_xlabel("score, (1 + cosine) / 2")
        axes.legend(frameon=False, fontsize=7, loc="upper right", handlelength=1.6, borderaxespad=0.0)
    return finish()


@contextmanager
def _drawing(name: str, summary: str) -> Iterator[tuple[Axes, Callable[[], Markup]]]:
    """Axes to draw on, and what turns them into SVG. name: unique in the page."""
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.figure import Figure

    made = io.StringIO()
    with rc_context():
        rcdefaults()  # a matplotlibrc in the working directory would redraw a proof, or run LaTeX for it
        rcParams.update(_SETTINGS)
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.subplots()
        axes.locator_params(axis="y", nbins=4, integer=False)
        yield axes, lambda: _inlined(made.getvalue(), name, summary)
        figure.savefig(made, format="svg", transparent=True, metadata=_NO_METADATA)


def _inlined(svg: str, name: str, summary: str) -> Markup:
    """matplotlib's file as an element of the page: no prologue, ids of its own, the page's colours, a description."""
    inner = re.sub(r"(?s)<metadata>.*?</metadata>|<style .*?</style>", "", svg[svg.index("<svg") :])
    inner = re.sub(r'\bid="', f'id="{name}-', inner)
    inner = inner.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    for colour, role in _PALETTE.items():
        inner = inner.replace(colour, role)
    title = element("title", summary, id=f"{name}-title")
    opening = f'<svg role="img" aria-labelledby="{name}-title" viewBox="0 0 {WIDTH_IN * 72:g} {HEIGHT_IN * 72:g}">'
    return Markup(re.sub(r"<svg [^>]*>", lambda _: opening + title, inner, count=1))
