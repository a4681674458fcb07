"""How alike two rankings of the same records are. Pure.

Hits of one score share a place: copies of a text come in any order, and that is no change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

SAME_SCORE = 1e-6
"""The same text beside others in a batch gets a vector that is the same but for rounding."""

Ranking: TypeAlias = Sequence[tuple[str, float]]
"""Record id and score of each hit, best first."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one question is answered. live, candidate: by exact search. near: ids that the candidate's index finds."""

    live: Ranking
    candidate: Ranking
    near: Collection[str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Means over all questions that were answered, `asked` of them; shares from 0 to 1.

    same_first: questions whose best hit is the same. overlap: hits that both have. rank_change: places between the two
    ranks of such a hit, None where there is none. recall: the candidate's hits that its index finds too, None where
    the candidate has no hit.
    """

    asked: int
    same_first: float
    overlap: float
    rank_change: float | None
    recall: float | None


def agreement(answers: Iterable[Answers]) -> Agreement | None:
    """The candidate against the live vectors; None when no question has an answer."""
    answered = [one for one in answers if one.live or one.candidate]
    if not answered:
        return None
    pairs = [(places(one.live), places(one.candidate)) for one in answered]
    changes = [abs(live[item] - new[item]) for live, new in pairs for item in live.keys() & new.keys()]
    recalls = [share_found(one.near, places(one.candidate)) for one in answered if one.candidate]
    return Agreement(
        asked=len(answered),
        same_first=_mean([bool(_firsts(live) & _firsts(new)) for live, new in pairs]),
        overlap=_mean([len(live.keys() & new.keys()) / max(len(live), len(new)) for live, new in pairs]),
        rank_change=_mean(changes) if changes else None,
        recall=_mean(recalls) if recalls else None,
    )


def places(ranking: Ranking) -> dict[str, int]:
    """Record id -> how many are better, best first."""
    found: dict[str, int] = {}
    place, score_there = 0, float("inf")
    for number, (record_id, score) in enumerate(ranking):
        if score_there - score > SAME_SCORE:
            place, score_there = number, score
        found[record_id] = place
    return found


def _firsts(placed: dict[str, int]) -> set[str]:
    return {record_id for record_id, place in placed.items() if place == 0}


def share_found(found: Iterable[str], wanted: Collection[str]) -> float:
    """Of the wanted ones, each once, the share that was found."""
    return len(set(found) & set(wanted)) / len(wanted)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
