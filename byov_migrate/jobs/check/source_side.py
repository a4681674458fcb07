"""Whether PostgreSQL can be read: the way there, the role, what is in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from byov_migrate import source
from byov_migrate.config import Config
from byov_migrate.config_checks import is_loopback
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.links import look_at_links
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.check.tables import look_at_table
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import Session, TableShape
from byov_migrate.source.address import Target, locate
from byov_migrate.source.standing import Standing, read_standing, server_clock, writable

NEWEST_TRIED = 18
LAG_S = 60.0
_source = Speaker("source")


def look_at_source(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    """Ends early, with an error, only where nothing more can be asked."""
    yield _tls(config, locate(config.source, around.environment))
    with source.connect(config.source, around.environment) as session:
        before = around.clock()
        seen.source_offset_s = server_clock(session) - (before + around.clock()) / 2
        seen.identity = source.source_identity(session)
        standing = read_standing(session)
        yield _version(session, standing)
        yield _replica(standing)
        yield _pooler(standing)
        for entry in config.entries:
            speaker = Speaker(f"{'table' if entry.distinct is None else 'node'} {entry.name}")
            yield from speaker.told("table", partial(look_at_table, session, entry, seen, speaker))
        yield from look_at_links(session, config, seen)
        yield _role(session, standing, list(seen.shapes.values()))
        yield from _statistics(config, standing)


def _tls(config: Config, target: Target) -> Finding:
    if target.checks_certificate:
        proved = "its certificate and name" if config.source.tls == "verify-full" else "its certificate, not its name,"
        return _source.ok("source-tls", f"TLS; the server proves {proved} by {target.ca_file}")
    if config.source.tls != "insecure" or is_loopback(target.address.host):
        return _source.ok("source-tls", "the connection does not leave this machine, so TLS is not asked for")
    return _source.warn(
        "source-tls",
        f"nothing proves that {target.address.host} is the server meant, and the line may be open",
        'take out tls = "insecure"; name the authority\'s certificate in ca_file if this machine does not know it',
        "source.tls",
    )


def _version(session: Session, standing: Standing) -> Finding:
    major, minor = divmod(session.server_version, 10000)
    name = f"PostgreSQL {major}.{minor} at {session.address}"
    if standing.fork:
        return _source.warn("source-version", f"the server is {standing.fork}; only PostgreSQL itself has been tried")
    if major > NEWEST_TRIED:
        return _source.warn("source-version", f"{name}; the newest that has been tried is {NEWEST_TRIED}")
    return _source.ok("source-version", name)


def _replica(standing: Standing) -> Finding:
    if not standing.in_recovery:
        return _source.ok("source-replica", "a primary")
    if standing.lag_s is None:
        return _source.warn("source-replica", "a replica that does not tell how far it is behind")
    text = f"a replica, {standing.lag_s:.1f} s behind"
    if standing.lag_s > LAG_S:
        return _source.warn("source-replica", text, "rows that are newer are not seen until it has caught up")
    return _source.ok("source-replica", text)


def _pooler(standing: Standing) -> Finding:
    through = "through a pooler such as pgbouncer" if standing.is_pooled else "no pooler in between that shows itself"
    return _source.ok("source-pooler", through)


def _role(session: Session, standing: Standing, shapes: Sequence[TableShape]) -> Finding:
    if standing.is_superuser:
        what = f"the role {standing.role} is a superuser"
    elif changeable := writable(session, [shape.oid for shape in shapes]):
        names = ", ".join(dict.fromkeys(str(shape) for shape in shapes if shape.oid in changeable))
        what = f"the role {standing.role} may change {names}"
    else:
        return _source.ok("source-role", f"the role {standing.role} only reads")
    return _source.warn("source-role", f"{what}; nothing here needs that", reader_statements(shapes))


def reader_statements(shapes: Sequence[TableShape]) -> str:
    """What makes a role that can read these tables and nothing else."""
    schemas = dict.fromkeys(quoted(shape.schema) for shape in shapes)
    tables = dict.fromkeys(f"{quoted(shape.schema)}.{quoted(shape.relation)}" for shape in shapes)
    statements = ["CREATE ROLE byov_reader LOGIN"]
    if tables:
        statements.append(f"GRANT USAGE ON SCHEMA {', '.join(schemas)} TO byov_reader")
        statements.append(f"GRANT SELECT ON {', '.join(tables)} TO byov_reader")
    return "; ".join([*statements, "then \\password byov_reader"])


def quoted(name: str) -> str:
    """A name as SQL reads it; in quotes where it has to be."""
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'


def _statistics(config: Config, standing: Standing) -> Iterator[Finding]:
    """Only a watermark needs to know how old the open transactions of others are."""
    users = [table.name for table in config.tables if table.changed_by and table.strategy != "window"]
    if not users or standing.sees_all_activity:
        return
    yield _source.warn(
        "source-statistics",
        f"the role {standing.role} does not see when the transactions of others began, which changed_by of"
        f" {', '.join(users)} needs where window cannot be used",
        f"GRANT pg_read_all_stats TO {quoted(standing.role)}",
    )
