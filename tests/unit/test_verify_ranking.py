"""How alike two rankings are, in numbers that are worked out by hand."""

from __future__ import annotations

import pytest

from byov_migrate.jobs.verify.ranking import Agreement, Answers, Ranking, agreement, places


def ranked(ids: str) -> Ranking:
    """A hit for each letter, each a tenth worse than the one before."""
    return [(record_id, 1 - number / 10) for number, record_id in enumerate(ids)]


def asked(live: str, candidate: str, near: str | None = None) -> Answers:
    """Letters as hits; the index finds what the exact search finds unless it is said."""
    return Answers(ranked(live), ranked(candidate), candidate if near is None else near)


def test_the_same_answers_agree_in_everything() -> None:
    """Nothing moved, nothing is missed."""
    assert agreement([asked("abc", "abc"), asked("d", "d")]) == Agreement(2, 1.0, 1.0, 0.0, 1.0)


def test_means_are_over_the_questions_and_changes_of_rank_over_the_hits() -> None:
    """Of two questions: one keeps its best and swaps two others, one has a new best and half of the hits."""
    found = agreement([asked("abcd", "acbd", "abcd"), asked("efgh", "hfxy", "hf")])
    assert found is not None
    assert (found.asked, found.same_first, found.overlap) == (2, 0.5, 0.75)
    # moved: b and c by one, a and d not; h from fourth to first, f not
    assert found.rank_change == pytest.approx((1 + 1 + 0 + 0 + 3 + 0) / 6)
    assert found.recall == pytest.approx((1.0 + 0.5) / 2)


def test_answers_without_a_hit_in_common_move_nothing() -> None:
    """There is no rank to compare."""
    assert agreement([asked("ab", "xy", "")]) == Agreement(1, 0.0, 0.0, None, 0.0)


def test_a_shorter_answer_is_measured_by_the_longer_one() -> None:
    """A set of vectors that knows fewer records does not agree by that; without any hit it has no recall."""
    assert agreement([asked("abcd", "a")]) == Agreement(1, 1.0, 0.25, 0.0, 1.0)
    assert agreement([asked("abcd", "")]) == Agreement(1, 0.0, 0.0, None, None)


def test_a_question_that_nobody_answers_is_none() -> None:
    """It would count as one that both answer differently."""
    assert agreement([]) is None
    assert agreement([asked("", "")]) is None
    assert agreement([asked("", ""), asked("a", "a")]) == Agreement(1, 1.0, 1.0, 0.0, 1.0)


def test_hits_of_one_score_share_a_place() -> None:
    """Copies come in any order; rounding is no difference, and many small steps are one."""
    assert places([("a", 0.9), ("b", 0.9 - 4e-7), ("c", 0.8), ("d", 0.8), ("e", 0.7)]) == {
        "a": 0,
        "b": 0,
        "c": 2,
        "d": 2,
        "e": 4,
    }
    assert places([("a", 0.9), ("b", 0.9 - 8e-7), ("c", 0.9 - 1.6e-6)]) == {"a": 0, "b": 0, "c": 2}
    assert places([]) == {}


def test_copies_in_another_order_are_the_same_best() -> None:
    """Nothing changed for whoever searches."""
    live = [("a", 0.9), ("b", 0.9), ("c", 0.5)]
    candidate = [("b", 0.7), ("a", 0.7), ("c", 0.6)]
    assert agreement([Answers(live, candidate, "abc")]) == Agreement(1, 1.0, 1.0, 0.0, 1.0)
