"""What the record routes do: create, upsert, replace and patch, with inline vectors and parent links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from byov_migrate.sandbox import records
from byov_migrate.sandbox.documents import Draft, InlineVector, Options
from byov_migrate.sandbox.indexes import attach_inline
from byov_migrate.sandbox.records import Stored, stored_from
from byov_migrate.sandbox.relations import link
from byov_migrate.sandbox.search import RECORD_COLUMNS
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.values import Content
from byov_migrate.sandbox.where import compile_where


def write(session: Session, drafts: Sequence[Draft], options: Options) -> list[Stored]:
    """Create or upsert drafts with their vectors and links; the records written, in the order of the drafts.

    A draft that matched several records yields all of them. Raises Refusal and NotUnique.
    """
    written = _created(session, drafts) if options.merge_by is None else _upserted(session, drafts, options)
    attach_inline(
        session,
        [(stored, draft.vectors) for draft, stored_ones in zip(drafts, written, strict=True) for stored in stored_ones],
    )
    for draft, stored_ones in zip(drafts, written, strict=True):
        if draft.parent is not None:
            parents = written[draft.parent]
            pairs = [(parent.number, child.number) for parent in parents for child in stored_ones]
            link(session, pairs, options.relation_type)
    return [stored for stored_ones in written for stored in stored_ones]


def overwrite(
    session: Session, old: Stored, label: str | None, content: Content, vectors: Sequence[InlineVector]
) -> Stored:
    """Give a record other content; the vectors it had are gone. `label` None keeps the label."""
    records.erase_vectors(session, [old.number])
    new = records.replace(session, old, label or old.label, content)
    attach_inline(session, [(new, vectors)])
    return new


def merged(old: Stored, content: Content) -> Content:
    """The content of a record with other properties laid over it."""
    before = old.content()
    return Content({**before.properties, **content.properties}, {**before.types, **content.types})


def _created(session: Session, drafts: Sequence[Draft]) -> list[list[Stored]]:
    return [[stored] for stored in records.add(session, [(draft.label, draft.content) for draft in drafts])]


def _upserted(session: Session, drafts: Sequence[Draft], options: Options) -> list[list[Stored]]:
    """Every draft is matched before any is written, so one key twice in a request makes two records."""
    matches = [list(_matching(session, draft, options.merge_by or ())) for draft in drafts]
    written = [
        [_rewritten(session, old, draft, rewrite=options.rewrite) for old in found]
        for draft, found in zip(drafts, matches, strict=True)
    ]
    new = [draft for draft, found in zip(drafts, matches, strict=True) if not found]
    created: Iterator[Stored] = iter(records.add(session, [(draft.label, draft.content) for draft in new]))
    return [found or [next(created)] for found in written]


def _rewritten(session: Session, old: Stored, draft: Draft, *, rewrite: bool) -> Stored:
    current = records.by_id(session, old.id) or old  # an earlier draft of this request may have changed it
    if rewrite:
        return overwrite(session, current, None, draft.content, ())
    return records.replace(session, current, current.label, merged(current, draft.content))


def _matching(session: Session, draft: Draft, merge_by: Sequence[str]) -> Iterator[Stored]:
    names = merge_by or list(draft.content.properties)
    wanted = {name: draft.content.properties.get(name) for name in names}
    if not wanted or any(value is None for value in wanted.values()):
        return iter(())
    condition = compile_where(_equalities(wanted), "r", session.project)
    rows = session.connection.execute(
        f"SELECT {RECORD_COLUMNS} FROM record r WHERE r.project = ? AND r.label = ? AND {condition.sql}",
        (session.project, draft.label, *condition.parameters),
    )
    return (stored for stored in map(stored_from, rows) if _holds(stored, wanted))


def _equalities(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars for the query; lists are compared whole afterwards."""
    return {name: value for name, value in wanted.items() if not isinstance(value, list)}


def _holds(stored: Stored, wanted: Mapping[str, Any]) -> bool:
    fields = orjson.loads(stored.body)
    return all(fields.get(name) == value for name, value in wanted.items())
