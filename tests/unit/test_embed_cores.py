"""How many threads are of use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from byov_migrate.embed.cores import usable_cores

MANY = os.cpu_count() or 1


def _groups(folder: Path, own: str, **quotas: str) -> tuple[Path, Path]:
    """A file system of cgroups, and the file that names the own one."""
    cgroups, file = folder / "cgroup", folder / "own"
    for group, quota in quotas.items():
        path = cgroups / group.replace("_", "/")
        path.mkdir(parents=True)
        (path / "cpu.max").write_text(quota)
    file.write_text(f"1:cpu:/old\n0::/{own}\n")
    return cgroups, file


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"pod": "max 100000", "pod_job": "max 100000"}, MANY),
        ({"pod": "max 100000", "pod_job": "50000 100000"}, 1),
        ({"pod": "100000 100000", "pod_job": "max 100000"}, 1),  # the one above pays
        ({"pod": "max 100000", "pod_job": "150000 100000"}, min(2, MANY)),  # two, each for three quarters of the time
        ({"other": "100000 100000"}, MANY),
    ],
)
def test_a_quota_counts_whichever_group_has_it(tmp_path: Path, quotas: dict[str, str], expected: int) -> None:
    """A container sees all cores of its machine, and is stopped when it uses them."""
    assert usable_cores(*_groups(tmp_path, "pod/job", **quotas)) == expected


def test_without_groups_it_is_what_the_scheduler_allows(tmp_path: Path) -> None:
    """On macOS, and under taskset."""
    assert usable_cores(tmp_path, tmp_path / "none") == MANY
    if not hasattr(os, "sched_setaffinity"):
        return
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code += "; from byov_migrate.embed.cores import usable_cores; print(usable_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"1\n"


def test_torch_is_held_to_it() -> None:
    """More threads than cores wait for each other in every operation."""
    code = "import torch; torch.set_num_threads(7); from byov_migrate.embed.cores import limit_threads"
    code += "; limit_threads(3); print(torch.get_num_threads()); limit_threads(5); print(torch.get_num_threads())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"3\n3\n"
