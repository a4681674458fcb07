"""The routes that read and write records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from byov_migrate.sandbox import records
from byov_migrate.sandbox import search as searches
from byov_migrate.sandbox.calls import Call
from byov_migrate.sandbox.documents import Draft, Options, read_drafts, read_options, read_vectors
from byov_migrate.sandbox.records import NotUnique, Stored
from byov_migrate.sandbox.replies import (
    Reply,
    database_failure,
    empty_failure,
    enveloped,
    invalid_body,
    not_found,
    refused,
)
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.values import Content, content_of, refuse_reserved
from byov_migrate.sandbox.writes import merged, overwrite, write

MOST_RETURNED = 1000


def import_json(session: Session, call: Call) -> Reply:
    """Create or upsert many records, all or none."""
    options = read_options(call.body)
    drafts = read_drafts(call.body, options)
    try:
        written = write(session, drafts, options)
    except NotUnique as exc:
        raise exc.refusal() from exc
    return enveloped(_import_result(drafts, written, options), status=201)


def create_one(session: Session, call: Call) -> Reply:
    """Create or upsert one flat record; 404 when nothing of it can be stored."""
    refuse_reserved(call.body)
    options = read_options(call.body, suggest_by_default=True)
    content = _read_content(call.body, options)
    if not content.properties:
        raise not_found()
    draft = Draft(call.body.get("label") or records.NO_LABEL, content, read_vectors(call.body.get("vectors")))
    try:
        written = write(session, [draft], options)
    except NotUnique as exc:
        raise database_failure() from exc
    return _single(written[0], status=201)


def read_one(session: Session, call: Call) -> Reply:
    """One record by its id."""
    return _single(_existing(session, call))


def replace_one(session: Session, call: Call) -> Reply:
    """Give a record the sent properties and no others; its vectors are erased."""
    content = _changed_content(call)
    return _overwritten(session, call, _existing(session, call), content)


def patch_one(session: Session, call: Call) -> Reply:
    """Lay the sent properties over a record, where null clears nothing; its vectors are erased all the same."""
    content = _changed_content(call)
    old = records.by_id(session, call.path["id"])
    if old is None:
        raise refused(404, f"Record with id '{call.path['id']}' not found")
    return _overwritten(session, call, old, merged(old, content))


def delete_one(session: Session, call: Call) -> Reply:
    """Delete by id; a record that is not there is deleted too."""
    stored = records.by_id(session, call.path["id"])
    if stored is not None:
        records.remove(session, [stored])
    return enveloped({"message": f"Record {call.path['id']} was successfully deleted"})


def delete_matching(session: Session, call: Call) -> Reply:
    """No label and no `where` mean the whole project: the server asks nobody either. `limit` is ignored."""
    if "'" in orjson.dumps(call.body.get("where")).decode():
        raise database_failure()
    query = searches.read_query({"labels": call.body.get("labels"), "where": call.body.get("where")})
    records.remove(session, list(records.by_numbers(session, searches.numbers_matching(session, query))))
    return enveloped({"message": "Records were successfully deleted"}, status=201)


def search_linked(session: Session, call: Call) -> Reply:
    """Records one link away from a record."""
    origin = records.by_id(session, call.path["id"])
    query = searches.read_query(call.body, linked_to=-1 if origin is None else origin.number)
    return enveloped(searches.find(session, query), total=searches.count(session, query))


def spliced(stored: Stored, extra: Mapping[str, Any]) -> Any:
    """A record's reply with more fields at its end, without reading the record."""
    if stored.hidden:
        return []
    return orjson.Fragment(stored.body[:-1].encode() + b"," + orjson.dumps(extra)[1:])


def _import_result(drafts: list[Draft], written: list[Stored], options: Options) -> Any:
    if not options.return_result:
        return True
    if len(drafts) > MOST_RETURNED:
        return {
            "message": f"Import complete. {len(drafts)} records processed. Result omitted for large imports "
            "— use /records/search to retrieve records.",
            "count": len(drafts),
        }
    empty = b'"__proptypes":{}}'
    return [stored.reply() for stored in written if not stored.body.encode().endswith(empty)]


def _read_content(body: Mapping[str, Any], options: Options) -> Content:
    data = body.get("data")
    if not isinstance(data, dict):
        raise empty_failure()
    if any(isinstance(value, dict) or _holds_objects(value) for value in data.values()):
        raise invalid_body("value does not match any of the allowed types")
    return content_of(data, suggest=options.suggest, skip_empty=options.skip_empty)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)


def _changed_content(call: Call) -> Content:
    refuse_reserved(call.body)
    return _read_content(call.body, read_options(call.body, suggest_by_default=True))


def _existing(session: Session, call: Call) -> Stored:
    stored = records.by_id(session, call.path["id"])
    if stored is None:
        raise not_found()
    return stored


def _overwritten(session: Session, call: Call, old: Stored, content: Content) -> Reply:
    vectors = read_vectors(call.body.get("vectors"))
    try:
        return _single(overwrite(session, old, call.body.get("label"), content, vectors), status=201)
    except NotUnique as exc:
        raise database_failure() from exc


def _single(stored: Stored, *, status: int = 200) -> Reply:
    """One record in its envelope, which its own properties `data` and `total` take over: the server's trap."""
    properties = {} if stored.hidden else stored.content().properties
    data = properties.get("data") or stored.reply()
    total = None if "data" in properties else properties.get("total")
    return enveloped(data, status=status, total=total)
