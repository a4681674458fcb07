"""Links of a plan: how many there will be, how RushDB is told of them, and what of a join table leaves with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byov_migrate.digests import Digests
from byov_migrate.jobs.documents import Leaving
from byov_migrate.jobs.linking import BATCHES_AT_ONCE, EDGES_AT_ONCE
from byov_migrate.jobs.planning.arithmetic import Estimate, exactly, mean_of
from byov_migrate.jobs.planning.looking import TargetLook
from byov_migrate.jobs.planning.pace import linking_seconds
from byov_migrate.jobs.planning.sampling import Sample
from byov_migrate.jobs.planning.volumes import edge_bytes
from byov_migrate.source import LinkShape, Paired, PairReader, Session
from byov_migrate.state.links import LinkCounts
from byov_migrate.target.linking import IDS

REQUESTS_A_CALL = 2
"""A link is made, then asked for."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One link.

    links: an estimate from the rows that were looked at, dangling ones among them; exact for pairs. carried: rows hold
    the other end's key, as the property `ref_property`. leaving: of a join table, as properties of the link. requests:
    at most. state_bytes: that the state grows by. seconds: to make those that do not stand yet, after the records.
    """

    name: str
    type: str
    source: str
    target: str
    links: Estimate
    carried: bool
    ref_property: str | None
    leaving: tuple[Leaving, ...]
    requests: int
    state_bytes: int
    seconds: Estimate


@dataclass(frozen=True, slots=True)
class LinkedRecords:
    """The records of one label: how many, whether all are stored already, bytes of their keys on average."""

    rows: int
    are_stored: bool
    key_bytes: float


def carried_links(links: Sequence[LinkShape], sample: Sample) -> dict[str, Estimate]:
    """By name, of those that the rows of a table carry.

    An array leads to as many records as it has different elements; a row that is rejected leads nowhere.
    """
    refs = [row.row.refs for row in sample.rows] + [{}] * len(sample.rejected)
    return {
        link.name: mean_of([len(item.get(link.type, ())) for item in refs], sample.population).times(sample.population)
        for link in links
    }


def plan_links(
    links: Sequence[LinkShape],
    carried: Mapping[str, Estimate],
    ends: Mapping[str, LinkedRecords],
    session: Session,
    digests: Digests,
    batch_rows: int,
    target: TargetLook,
    known: Mapping[str, LinkCounts],
) -> tuple[LinkPlan, ...]:
    """In the order of the configuration. carried: as `carried_links` of every table. ends: by label. known: by name."""
    found = []
    for link in links:
        source, aim = ends[link.source.entry.label], ends[link.target.entry.label]
        if isinstance(link.way, Paired):
            pairs = PairReader(session, link, link.way, digests).sum().pairs
            counted, requests = exactly(pairs), _paired_requests(link.way, pairs, min(source.rows, aim.rows))
        else:
            counted = carried[link.name]
            requests = _carried_requests(counted.value, source.rows, batch_rows)
        left = counted.less(_settled(known.get(link.name), aim))
        calls = min(requests, REQUESTS_A_CALL * math.ceil(left.value))
        seconds = linking_seconds(left, calls, target.kind, target.round_trip_s, joined=link.is_carried)
        grows = edge_bytes(counted.value, source.key_bytes, aim.key_bytes)
        found.append(_plan(link, counted, requests, grows, seconds))
    return tuple(found)


def _settled(known: LinkCounts | None, target: LinkedRecords) -> int:
    """Links that stand, and those that lead to no record although all are there."""
    if known is None:
        return 0
    return known.linked + (known.dangling if target.are_stored else 0)


def _plan(link: LinkShape, links: Estimate, requests: int, state_bytes: int, seconds: Estimate) -> LinkPlan:
    return LinkPlan(
        name=link.name,
        type=link.type,
        source=link.source.entry.label,
        target=link.target.entry.label,
        links=links,
        carried=link.is_carried,
        ref_property=link.ref_property if link.is_carried else None,
        leaving=tuple(_leaving(link.way)) if isinstance(link.way, Paired) else (),
        requests=requests,
        state_bytes=state_bytes,
        seconds=seconds,
    )


def _leaving(way: Paired) -> list[Leaving]:
    table = f"{way.schema}.{way.relation}"
    return [Leaving(column.name, f"column {column.name} of {table}") for column in way.properties]


def _carried_requests(links: float, rows: int, batch_rows: int) -> int:
    """So many batches are joined at once, unless they have too many links together."""
    joins = max(math.ceil(rows / batch_rows / BATCHES_AT_ONCE), math.ceil(links / EDGES_AT_ONCE))
    return REQUESTS_A_CALL * joins


def _paired_requests(way: Paired, pairs: int, hubs: int) -> int:
    """Up to 1,000 links of one record at once, at the end with fewer; each alone where it has properties of its own."""
    return REQUESTS_A_CALL * (pairs if way.properties else min(pairs, hubs + pairs // IDS))
