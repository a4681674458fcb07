"""How many processor cores this process may use: fewer than the machine has, in a container with a quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """The smaller of what the scheduler allows and what the cgroups' quotas pay for, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, *(math.ceil(quota) for quota in _quotas(cgroups, own)), affinity))


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Cores by the quota of the own group and of those above it (cgroup 2); none without a limit."""
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = cgroups / group
    while folder.is_relative_to(cgroups):
        yield from _quota(folder / "cpu.max")
        folder = folder.parent


def _quota(file: Path) -> Iterator[float]:
    try:
        allowed, period = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return
    if allowed != "max":
        yield int(allowed) / int(period)


def limit_threads(cores: int) -> None:
    """Let torch use no more threads than that: more of them wait for each other inside every operation."""
    import torch

    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)
