"""Killed while links are made: the next run ends exact."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.graph_rig import GraphRig, graph_rigged
from tests.killing import killed_at

KILLS = int(os.environ.get("BYOV_TEST_LINK_KILLS", "4"))
ROWS = int(os.environ.get("BYOV_TEST_LINK_ROWS", "300"))
IS_LINKING = "SELECT 1 FROM link WHERE called_at IS NOT NULL"
RUN = """
import json, sys
from pathlib import Path
from tests.graph_rig import GraphRig
given = json.loads(sys.argv[1])
rig = GraphRig(Path(given.pop("folder")), **given)
getattr(rig, sys.argv[2])()
"""


@pytest.fixture
def rig(tmp_path: Path, database: str) -> Iterator[GraphRig]:
    """Everything linked in every way."""
    with graph_rigged(tmp_path, database) as graph:
        yield graph


def started(rig: GraphRig, job: str) -> subprocess.Popen[bytes]:
    """A job of this rig in a process of its own."""
    given = {"folder": str(rig.folder), "dsn": rig.dsn, "url": rig.url, "key": rig.key, "suffix": rig.suffix}
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", RUN, json.dumps(given), job], cwd=root, stderr=subprocess.PIPE)


@pytest.mark.timeout(1800)
def test_killed_while_links_are_made_the_next_run_ends_exact(
    rig: GraphRig, record_property: Callable[[str, object], None]
) -> None:
    """Foreign keys change between two kills, so a late request of a dead run would leave a link out of date."""
    rig.make_tables(jobs=ROWS, companies=20)
    moments = random.Random(8)  # noqa: S311 - no secret
    kills = 0
    for number in range(KILLS * 4):
        process = started(rig, "backfill" if not number else "sync")
        kills += killed_at(process, rig.config().state_path, IS_LINKING, moments.uniform(0, 1.2))
        if kills >= KILLS:
            break
        if number:
            rig.execute(f"UPDATE job SET company_id = (company_id + {number}) % 20 + 1, office = 'word {number % 12}'")
            rig.execute("UPDATE job_tag SET level = coalesce(level, 0) + 1")
        else:
            rig.backfill()
    assert kills, "no run lived long enough to be killed"
    record_property("kills", kills)
    rig.sync(full=True)
    assert rig.differences() == {}
