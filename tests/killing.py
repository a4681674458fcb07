"""A process killed while it is at something that its state tells of."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from pathlib import Path


def killed_at(process: subprocess.Popen[bytes], state: Path, query: str, after_s: float) -> bool:
    """Kill it so long after a query of its state has found something; whether it lived long enough.

    One that ends before has to have ended well.
    """
    while process.poll() is None and not _finds(state, query):
        time.sleep(0.01)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    _, err = process.communicate()
    assert process.returncode == 0, err
    return False


def _finds(state: Path, query: str) -> bool:
    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=1) as connection:
            return connection.execute(query).fetchone() is not None
    except sqlite3.OperationalError:
        return False
