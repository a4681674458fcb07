"""[[links]] against the catalogue: what they join, by what, and whether the role may read that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from byov_migrate import source
from byov_migrate.config import Config
from byov_migrate.errors import CredentialsRefused
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.source import LinkShape, Paired, Session
from byov_migrate.source.survey import FoundTable, readable_columns

_links = Speaker("links")


def look_at_links(session: Session, config: Config, seen: Seen) -> Iterator[Finding]:
    """A finding a link, or a mistake. Links that lead to no record are not looked for: only reading all would tell."""
    if len(seen.shapes) < len(config.entries) and config.links:
        yield _links.warn("link", "not looked at: the tables that they join have to be mended first")
        return
    yield from _links.told("link", partial(_described, session, config, seen))


def _described(session: Session, config: Config, seen: Seen) -> Iterator[Finding]:
    seen.links = source.describe_links(session, config)
    for link in seen.links:
        speaker = Speaker(f"link {link.name}")
        yield from speaker.told("link-privilege", partial(_looked_at, session, link, speaker))


def _looked_at(session: Session, link: LinkShape, speaker: Speaker) -> Iterator[Finding]:
    """Raise CredentialsRefused for columns that the role may not read."""
    for table, columns in _read(link):
        missing = sorted(columns - {*readable_columns(session, table)})
        if missing:
            names = ", ".join(missing)
            raise CredentialsRefused(
                f"the role may not read {names} of {table.written}", next_step=f"GRANT SELECT ON {table.written}"
            )
    yield speaker.ok("link", f"to {link.target.entry.label}: {_way(link)}")


def _read(link: LinkShape) -> Iterator[tuple[FoundTable, set[str]]]:
    """The columns that a link is read from, by table."""
    source_table, target_table = (
        FoundTable(end.shape.oid, end.shape.schema, end.shape.relation) for end in (link.source, link.target)
    )
    if not isinstance(link.way, Paired):
        yield source_table, {column.name for column in link.way.columns}
        return
    sources, targets = ({column.name for column in side} for side in (link.way.source_columns, link.way.target_columns))
    if link.way.oid is None:
        yield source_table, sources
        yield target_table, targets
        return
    properties = {column.name for column in link.way.properties}
    yield FoundTable(link.way.oid, link.way.schema, link.way.relation), sources | targets | properties


def _way(link: LinkShape) -> str:
    if not isinstance(link.way, Paired):
        names = ", ".join(column.name for column in link.way.columns)
        several = "the keys in " if link.is_list else ""
        return f"rows carry {several}{names} as {link.ref_property}; joined as a set"
    relation = f"{link.way.schema}.{link.way.relation}" if link.way.oid else "equal values of two tables"
    each = ", with properties: a request a link" if link.way.properties else ""
    return f"read as pairs from {relation}{each}"
