"""From a table's name as people write it to the one relation it means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from byov_migrate.errors import ConfigurationError
from byov_migrate.source import queries
from byov_migrate.source.session import Transaction

_QUOTED = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*(?:\.|$)')
_LONGEST_BYTES = 63


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that exists."""

    oid: int
    schema: str
    name: str
    kind: str


def candidates(text: str) -> list[tuple[str, str]]:
    """What a name may mean, best first, as (schema, name); an empty schema is any.

    Without quotes it is taken literally first, then in lower case, as SQL would.
    """
    if '"' in text:
        parts = _quoted_parts(text)
        return [("", parts[0])] if len(parts) == 1 else [(parts[0], ".".join(parts[1:]))]
    schema, dot, relation = text.partition(".")
    split = [(schema, relation)] if dot else []
    literal = [*split, ("", text)]
    return list(dict.fromkeys([*literal, *((a.lower(), b.lower()) for a, b in literal)]))


def _quoted_parts(text: str) -> list[str]:
    parts, end = [], 0
    while end < len(text) and (found := _QUOTED.match(text, end)):
        quoted, bare = found.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else bare.strip().lower())
        end = found.end()
    return parts if parts and end >= len(text) else [text]


def resolve(transaction: Transaction, text: str, path: str) -> Relation:
    """Raise ConfigurationError, with `path`, when no relation has this name or several have."""
    wanted = candidates(text)
    schemas, names = zip(*wanted, strict=True)
    rows = transaction.fetch(queries.RELATIONS, (list(schemas), list(names)))
    found = [Relation(*row) for row in rows]
    for schema, relation in wanted:
        matching = [one for one in found if one.name == relation and schema in ("", one.schema)]
        if matching:
            return _only(matching, text, path)
    raise ConfigurationError(f"{path}: there is no table {text!r}{_hint(transaction, text)}")


def _only(matching: Sequence[Relation], text: str, path: str) -> Relation:
    public = [one for one in matching if one.schema == "public"]
    if len(matching) > 1 and not public:
        known = ", ".join(f"{one.schema}.{one.name}" for one in matching)
        raise ConfigurationError(f"{path}: {text!r} may be any of {known}; write the schema too")
    return (public or list(matching))[0]


def _hint(transaction: Transaction, text: str) -> str:
    if any(len(relation.encode()) > _LONGEST_BYTES for _, relation in candidates(text)):
        return f"; PostgreSQL's names end after {_LONGEST_BYTES} bytes"
    return nearest(text, [row[0] for row in transaction.fetch(queries.KNOWN_RELATIONS)])


def nearest(text: str, known: Sequence[str]) -> str:
    """`; did you mean "x"?`, or the known names when none is near."""
    close = difflib.get_close_matches(text, known, 1, 0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; there are: {', '.join(sorted(known)[:12])}" if known else "; the role sees none at all"
