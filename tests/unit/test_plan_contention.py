"""What other programs take of the processor."""

from __future__ import annotations

from pathlib import Path

from byov_migrate.embed.contention import ProcessorTime, processor_time


def test_time_of_all_threads_is_added_up(tmp_path: Path) -> None:
    """A model runs in more threads than one. Nanoseconds run, nanoseconds waited, times it was put on a processor."""
    for thread, content in {"1": "1500000000 500000000 7\n", "2": "500000000 1000000000 9\n"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(content)
    assert processor_time(tmp_path) == ProcessorTime(2.0, 1.5)


def test_where_nothing_is_told_the_machine_passes_for_free(tmp_path: Path) -> None:
    """Other systems than Linux, or one without this account."""
    nothing = processor_time(tmp_path)
    assert nothing == ProcessorTime(0.0, 0.0)
    assert nothing.share_since(nothing) == 1.0


def test_the_share_is_of_the_time_that_could_have_been_used() -> None:
    """Between two looks; threads that ended meanwhile cannot make it less than nothing or more than all."""
    before = ProcessorTime(10.0, 10.0)
    assert ProcessorTime(11.0, 13.0).share_since(before) == 0.25
    assert ProcessorTime(11.0, 10.0).share_since(before) == 1.0
    assert ProcessorTime(9.0, 9.0).share_since(before) == 1.0


def test_this_process_is_accounted_for() -> None:
    """The system's own account has the form that is read."""
    if not Path("/proc/self/schedstat").exists():
        return
    before = processor_time()
    assert sum(range(3_000_000)) > 0
    assert processor_time().ran_s > before.ran_s
