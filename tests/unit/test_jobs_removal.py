"""When deletes need a yes."""

from __future__ import annotations

import pytest

from byov_migrate.errors import ConsentNeeded
from byov_migrate.jobs.removal import require_consent


@pytest.mark.parametrize(
    ("gone", "known", "left", "configured"),
    [
        (8_000, 200_000, 192_000, None),  # a board that loses 4 % a day
        (10_000, 200_000, 190_000, None),
        (100, 150, 50, None),
        (100, 150, None, None),  # nobody counted: marked rows, not a sweep
        (150, 150, 1, 150),
        (0, 0, 0, None),  # a table that was always empty
    ],
)
def test_what_is_below_the_ceiling_is_nobodys_business(
    gone: int, known: int, left: int | None, configured: int | None
) -> None:
    """Cron must not wake anybody for the ordinary course of things."""
    require_consent(gone, known, left, configured)


@pytest.mark.parametrize(
    ("gone", "known", "left", "configured"),
    [
        (10_001, 200_000, 189_999, None),
        (101, 150, 49, None),
        (200_000, 200_000, 0, None),
        (60, 60, 0, None),  # below the ceiling, but all there is
        (60, 60, 0, 1_000_000),
        (1, 1000, 999, 0),
    ],
)
def test_more_than_the_ceiling_or_all_there_is_needs_a_yes(
    gone: int, known: int, left: int | None, configured: int | None
) -> None:
    """An emptied or restored table looks like so many deletes."""
    with pytest.raises(ConsentNeeded, match=f"{gone:,} of {known:,} rows are gone") as asked:
        require_consent(gone, known, left, configured)
    assert asked.value.exit_code == 6
