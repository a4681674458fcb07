from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graph_rig import LINKS, GraphRig, graph_rigged


@pytest.fixture
def rig(tmp_path: Path, any_database: str) -> Iterator[GraphRig]:
    with graph_rigged(tmp_path, any_database) as graph:
        yield graph


def test_every_link_that_sql_implies_stands_and_no_other(rig: GraphRig) -> None:
    rig.make_tables()
    result = rig.backfill()
    assert rig.differences() == {}
    assert {link.type.removesuffix(rig.suffix): link.stored for link in result.links} == {
        kind: len(rig.implied(kind)) for kind in LINKS
    }
    assert [link.dangling for link in result.links] == [0] * len(LINKS)
