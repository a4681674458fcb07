"""Runs one job of `convert_jobs` in a child process behind `walls`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byov_migrate.embed import walls
from byov_migrate.embed.library import OFFLINE
from byov_migrate.errors import ConfigurationError, Interrupted, MigrationError, PersonNeeded

CPU_LIMIT_S = 3600
LIBRARIES_BYTES = 4 * 2**30  # what torch and its friends take without any model
POLL_S = 0.05
THREADS = "4"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "LANG", "LC_ALL")
"""No other variable reaches the child: the environment holds secrets."""


@dataclass(frozen=True)
class Confinement:
    """Where and within what a child works.

    scratch: the only folder it may change, its working directory; memory_bytes, file_bytes: of its data and of one
    file; is_stopped: asked all the time, true ends the child.
    """

    scratch: Path
    memory_bytes: int
    file_bytes: int
    is_stopped: Callable[[], bool]

    def run(self, job: str, **arguments: Any) -> dict[str, Any]:
        """The reply of a job.

        Raise ConfigurationError for what the job refuses, PersonNeeded when it ran into a limit, Interrupted.
        """
        limits = {"memory_bytes": self.memory_bytes, "file_bytes": self.file_bytes, "cpu_s": CPU_LIMIT_S}
        task = json.dumps({"job": job, "arguments": arguments, **limits})
        said, complained = self.scratch / "stdout", self.scratch / "stderr"
        with said.open("wb") as out, complained.open("wb") as err:
            child = subprocess.Popen(
                [sys.executable, "-P", str(Path(walls.__file__).resolve()), task],
                cwd=self.scratch,
                env=_environment(self.scratch),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # a Ctrl-C reaches us alone, and we end it
            )
            self._wait(child)
        if child.returncode != 0:
            raise _failure(job, child.returncode, complained)
        return _reply(said)

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        try:
            while child.poll() is None:
                if self.is_stopped():
                    raise Interrupted
                time.sleep(POLL_S)
        finally:
            child.kill()
            child.wait()


def _environment(scratch: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    homes = {"HOME": str(scratch), "TMPDIR": str(scratch)}
    # The second one makes torch refuse whatever asks for a full unpickling, also inside the libraries.
    return {**kept, **threads, **homes, **OFFLINE, "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "CUDA_VISIBLE_DEVICES": ""}


def _reply(said: Path) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(said.read_text(encoding="utf-8").rpartition("\n")[2])
    if "refused" in reply:
        raise ConfigurationError(str(reply["refused"]), next_step=reply.get("next_step"))
    return reply


def _failure(job: str, code: int, complained: Path) -> MigrationError:
    """A signal means a limit or the system's own killer; anything else is a bug of ours."""
    lines = complained.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
    if code < 0 or lines[-1].startswith("MemoryError"):
        return PersonNeeded(
            f"the process that did the job {job!r} ran out of memory or time", next_step="use a larger machine"
        )
    return MigrationError(f"the job {job!r} failed: {lines[-1]}")
