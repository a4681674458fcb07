"""Links, after their records: whatever the state knows to be implied and not yet proved is made and proved.

The same for a backfill, a sync and after a kill: making a link that is there changes nothing.

carried by rows    RushDB joins by the keys that the records hold: one request for up to 50,000 links
paired             by the ids that the ledger knows, one request for all links of one record, at the end with fewer
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from byov_migrate.config import TableConfig
from byov_migrate.errors import Interrupted, TooLarge
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.records import LinkEnd
from byov_migrate.source import LinkShape, Paired, PairReader, PairSum
from byov_migrate.state.edge_queries import Edge
from byov_migrate.state.forgetting import label_of
from byov_migrate.state.links import LinkRow
from byov_migrate.state.store import portions
from byov_migrate.target import provision
from byov_migrate.target.asking import Asker
from byov_migrate.target.linking import IDS, Linker
from byov_migrate.target.pace import Pace
from byov_migrate.target.wire import LinkPlace

EDGES_AT_ONCE = 50_000
"""Joined by one request: some seconds of the server's 55. Held in memory at a time, where they are linked by ids."""
BATCHES_AT_ONCE = 100
TARGETS_AT_ONCE = 500
PAIRS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class LinkResult:
    """What a run did with one link. stored: links that stand now. dangling: those that lead to no record."""

    name: str
    type: str
    source: str
    target: str
    stored: int
    dangling: int
    made: int
    removed: int
    requests: int
    seconds: float


def place_of(link: LinkShape) -> LinkPlace:
    """Where the target keeps a link."""
    return LinkPlace(link.type, link.source.entry.label, link.target.entry.label, link.ref_property)


def register_links(ends: Ends) -> None:
    """Let the state know of every link, before a record that carries one is settled."""
    known = set(ends.state.links.names())
    new = [link for link in ends.links if link.name not in known]
    if new:
        ends.state.links.register([_row_of(link) for link in new])


def _row_of(link: LinkShape) -> LinkRow:
    return LinkRow(link.name, link.type, link.source.entry.name, link.target.entry.name, link.is_carried)


def drop_links(ends: Ends, entry: TableConfig) -> None:
    """Remove the links from this table that the configuration does not have any more, and forget them.

    By the keys that the records hold, so before these are written over. Raise Interrupted after a stop.
    """
    configured = {link.name: _row_of(link) for link in ends.links}
    applying = ends.state.scope.applying(entry.name)
    anew = applying.links if applying else frozenset()
    gone = [row for row in ends.state.links.rows(entry.name) if configured.get(row.name) != row or row.name in anew]
    if gone:
        linker = linker_for(ends)
        with calling(ends, linker):
            for row in gone:
                ends.state.links.loosen_link(row.name)
                _drop(ends, linker, entry, row)
    ends.state.scope.links_made_anew(entry.name)


def _drop(ends: Ends, linker: Linker, entry: TableConfig, row: LinkRow) -> None:
    target = label_of(ends.state.scope.fields(), row.target_table)  # without one its records are gone, and so are links
    edges = ends.state.links.edges(row.name) if target is not None else []
    place = LinkPlace(row.type, entry.label, target or "", f"byovRef_{row.type}")
    by_source = [(source_id, list(some)) for source_id, some in groupby(edges, key=lambda edge: edge.source.record_id)]
    for some in portions(by_source, IDS) if row.carried else ():
        _require_going(ends)
        linker.part(place, [source_id for source_id, _ in some])
    for source_id, leading in by_source if not row.carried else ():
        _require_going(ends)
        linker.unlink(place, source_id, [edge.target.record_id for edge in leading])
    ends.state.links.forget(row.name)
    ends.note("links-removed", link=row.name, links=len(edges))


def linker_for(ends: Ends) -> Linker:
    """What makes links in this run's target."""
    budget_s = provision.request_budget_s(ends.config.target, ends.server)
    return Linker(ends.wire, Asker(ends.patience, Pace(1), budget_s))


def require_quiet(ends: Ends) -> None:
    """Wait until no request about links of a run that was killed can be running: it would make an old link again.

    Nobody knows when its last one was sent.
    """
    if ends.state.links.called_at() is None:
        return
    budget_s = provision.request_budget_s(ends.config.target, ends.server)
    ends.patience.pause("links of an earlier run may still be made at the target", budget_s)
    ends.state.links.end_calls()


def link_all(ends: Ends, *, told: bool = True) -> tuple[LinkResult, ...]:
    """Make and prove every link between stored records. Raise Interrupted between two requests after a stop.

    told: also of links about which there was nothing to do, which takes counting all of them. Raise DifferencesFound
    when RushDB does not hold a link that it accepted.
    """
    at_work = [link for link in ends.links if _is_unsettled(ends, link)]
    chosen = ends.links if told else at_work
    linker = linker_for(ends)
    if not at_work:
        return tuple(_link(ends, linker, link) for link in chosen)
    with calling(ends, linker):
        return tuple(_link(ends, linker, link) for link in chosen)


@contextlib.contextmanager
def calling(ends: Ends, linker: Linker) -> Iterator[None]:
    """Requests about links are under way inside. A run that is killed there is waited for by the next."""
    require_quiet(ends)
    ends.state.links.begin_calls()
    yield
    linker.outlast()
    ends.state.links.end_calls()


def _is_unsettled(ends: Ends, link: LinkShape) -> bool:
    """Whether a link is to be made or removed. Independent of how many there are, but for one scan of a join table."""
    if ends.state.links.has_loose(link.name):
        return True
    if not isinstance(link.way, Paired):
        return False
    now = again_and_again(PairReader(ends.session, link, link.way, ends.digests).sum, ends.patience)
    return ends.state.links.pair_sum(link.name) != (now.pairs, now.checksum)


def _link(ends: Ends, linker: Linker, link: LinkShape) -> LinkResult:
    began, requests = ends.around.monotonic(), ends.wire.requests_sent
    before = ends.state.links.counts(link.name)
    removed = 0
    if isinstance(link.way, Paired):
        removed = _link_pairs(ends, linker, link, PairReader(ends.session, link, link.way, ends.digests))
    else:
        _join(ends, linker, link)
    counts = ends.state.links.counts(link.name)
    result = LinkResult(
        name=link.name,
        type=link.type,
        source=link.source.entry.label,
        target=link.target.entry.label,
        stored=counts.linked,
        dangling=counts.dangling,
        made=max(counts.linked - before.linked + removed, 0),
        removed=removed,
        requests=ends.wire.requests_sent - requests,
        seconds=ends.around.monotonic() - began,
    )
    ends.around.log("linked", link=link.name, links=counts.linked, made=result.made, dangling=counts.dangling)
    return result


def _join(ends: Ends, linker: Linker, link: LinkShape) -> None:
    """By the keys that the records hold: some batches of sources, or the few targets that have come."""
    state, place = ends.state.links, place_of(link)
    if link.source.entry.label == link.target.entry.label:
        _link_to_themselves(ends, linker, link)
    batches = state.loose_by_batch(link.name)
    if not batches:
        return
    edges = sum(count for count, _ in batches.values())
    targets = state.loose_targets(link.name, TARGETS_AT_ONCE)
    if targets is not None and edges <= EDGES_AT_ONCE and len(batches) > BATCHES_AT_ONCE:
        _require_going(ends)
        with contextlib.suppress(TooLarge):  # all records of the label are gone through: by batches then
            linker.join_to(place, targets=targets, linked=state.count_sources(link.name, targets))
            state.mark_targets(link.name, targets)
            return
    for some in _batch_portions(batches):
        _join_batches(ends, linker, link, some)


def _batch_portions(batches: dict[str, tuple[int, int]]) -> Iterator[dict[str, int]]:
    """Batch -> records to be linked, in portions that one request can join."""
    portion: dict[str, int] = {}
    edges = 0
    for batch, (count, records) in batches.items():
        if portion and (edges + count > EDGES_AT_ONCE or len(portion) >= BATCHES_AT_ONCE):
            yield portion
            portion, edges = {}, 0
        portion[batch] = records
        edges += count
    yield portion


def _join_batches(ends: Ends, linker: Linker, link: LinkShape, batches: dict[str, int]) -> None:
    """Halved when the server cannot do it in its time; one batch that is too much is linked by ids."""
    _require_going(ends)
    try:
        linker.join(place_of(link), batches=list(batches), linked=sum(batches.values()))
    except TooLarge:
        if len(batches) == 1:
            _link_by_ids(ends, linker, link, ends.state.links.loose(link.name, batch=next(iter(batches))))
        else:
            names = list(batches)
            for half in (names[: len(names) // 2], names[len(names) // 2 :]):
                _join_batches(ends, linker, link, {name: batches[name] for name in half})
            return
    ends.state.links.mark_batches(link.name, list(batches))


def _link_to_themselves(ends: Ends, linker: Linker, link: LinkShape) -> None:
    """A join leaves out the record itself."""
    own = [edge for edge in ends.state.links.loose(link.name) if edge.source.key == edge.target.key]
    _link_by_ids(ends, linker, link, own)


def _link_pairs(ends: Ends, linker: Linker, link: LinkShape, reader: PairReader) -> int:
    """Read the source's pairs where they have changed; return how many links were removed."""
    state = ends.state.links
    now = again_and_again(reader.sum, ends.patience)
    if state.pair_sum(link.name) != (now.pairs, now.checksum):
        now = again_and_again(partial(_read_pairs, ends, link, reader), ends.patience)
    old = state.out_of_date(link.name)
    for source_id, edges in groupby(old, key=lambda edge: edge.source.record_id):
        _require_going(ends)
        linker.unlink(place_of(link), source_id, [edge.target.record_id for edge in edges])
    state.settle_pairs(link.name, now.pairs, now.checksum)
    if reader.way.properties:
        _link_with_properties(ends, linker, link, reader)
    else:
        _link_hubs(ends, linker, link)
    return len(old)


def _read_pairs(ends: Ends, link: LinkShape, reader: PairReader) -> PairSum:
    """Take over all pairs; what they come to in the very same snapshot, or a change in between would not be seen."""
    with reader.reading() as (summed, pairs):
        ends.state.links.read_pairs(link.name, ((pair.source, pair.target, pair.mark) for pair in pairs))
    return summed


def _link_hubs(ends: Ends, linker: Linker, link: LinkShape) -> None:
    """A request for each record of the end that has fewer of them: for playlists of thousands of tracks each."""
    state = ends.state.links
    sources, targets = state.loose_ends(link.name)
    hub_is: LinkEnd = "source" if sources < targets else "target"
    while edges := state.loose(link.name, by=hub_is, limit=EDGES_AT_ONCE):  # as many as fit into memory
        _link_by_ids(ends, linker, link, edges, hub_is)


def _link_by_ids(
    ends: Ends, linker: Linker, link: LinkShape, edges: Iterable[Edge], hub_is: LinkEnd = "target"
) -> None:
    """edges: those of one record at that end together."""
    other_is: LinkEnd = "source" if hub_is == "target" else "target"
    for (hub, mutual), group in groupby(edges, key=lambda edge: (edge.end(hub_is), edge.mutual)):
        for some in portions(group, IDS):
            _require_going(ends)
            others = [edge.end(other_is).record_id for edge in some]
            linker.link(place_of(link), hub.record_id, others, hub_is=hub_is, mutual=mutual)
            ends.state.links.mark_edges(link.name, some)


def _link_with_properties(ends: Ends, linker: Linker, link: LinkShape, reader: PairReader) -> None:
    """One request a link, since each has properties of its own. Values are in no state, so pairs are read again."""
    state = ends.state.links
    if not state.has_loose(link.name):
        return
    for some in portions(reader.pairs(), PAIRS_AT_ONCE):
        loose = state.are_loose(link.name, [(pair.source, pair.target) for pair in some])
        for pair in some:
            if edge := loose.get((pair.source, pair.target)):
                _require_going(ends)
                source, target = edge.source.record_id, edge.target.record_id
                linker.link_with(place_of(link), source, target, pair.properties, mutual=edge.mutual)
        state.mark_edges(link.name, list(loose.values()))


def _require_going(ends: Ends) -> None:
    if ends.around.stop.is_set():
        raise Interrupted
