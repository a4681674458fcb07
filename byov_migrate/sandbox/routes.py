"""Every route the sandbox answers: method, path, who may call it, and the function behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from byov_migrate.sandbox import constraints, record_routes
from byov_migrate.sandbox import indexes as vector_indexes
from byov_migrate.sandbox import relations as links
from byov_migrate.sandbox import search as searches
from byov_migrate.sandbox.calls import Call
from byov_migrate.sandbox.nearest import nearest
from byov_migrate.sandbox.record_routes import spliced
from byov_migrate.sandbox.replies import Reply, enveloped, refused
from byov_migrate.sandbox.store import Session

Handler: TypeAlias = Callable[[Session, Call], Reply]

REQUEST_BUDGET_S = 1
SETTINGS = {
    "selfHosted": True,
    "dashboardUrl": "",
    "googleOAuthEnabled": False,
    "githubOAuthEnabled": False,
    "embeddingEnabled": False,
    "llmEnabled": False,
    "synxEnabled": False,
    "byovSandbox": {"requestBudget": REQUEST_BUDGET_S},
}


@dataclass(frozen=True, slots=True)
class Route:
    """A handler and who may call it, or one reply for everybody.

    reads: a read-only key may call it. open: nobody is asked for a key.
    """

    method: str
    path: str
    handler: Handler | Reply
    reads: bool = False
    open: bool = False


def current_token(_session: Session, call: Call) -> Reply:
    """What the key of this call is allowed to do."""
    return enveloped({**call.token, "created": "2026-01-01T00:00:00.000Z", "expiration": -1, "expired": False})


def search_records(session: Session, call: Call) -> Reply:
    """A page of records or groups, and how many records match."""
    query = searches.read_query(call.body)
    return enveloped(searches.find(session, query), total=searches.count(session, query))


def count_labels(session: Session, call: Call) -> Reply:
    """Records by label; `labels` in the body is ignored."""
    query = searches.read_query({**call.body, "labels": []})
    condition = searches.matching(session, query)
    rows = session.connection.execute(
        f"SELECT r.label, count(*) FROM record r WHERE {condition.sql} GROUP BY r.label", condition.parameters
    )
    return enveloped({label or "null": records for label, records in rows})


def list_properties(session: Session, call: Call) -> Reply:
    """Property names by type, with their number of records."""
    labels = searches.read_query(call.body).labels
    rows = session.connection.execute(
        "SELECT name, type, label, records FROM property_count WHERE project = ? AND records > 0", (session.project,)
    )
    counts: dict[tuple[str, str], int] = {}
    for name, kind, label, records in rows:
        if not labels or label in labels:
            counts[name, kind] = counts.get((name, kind), 0) + records
    return enveloped(
        [
            {"id": f"{kind}:{name}", "name": name, "type": kind, "metadata": "", "recordsCount": records}
            for (name, kind), records in counts.items()
        ]
    )


def list_indexes(session: Session, _call: Call) -> Reply:
    """All vector indexes of the project."""
    return enveloped([index.reply(session.project_id) for index in vector_indexes.listed(session)])


def create_index(session: Session, call: Call) -> Reply:
    """A new external vector index, empty."""
    return enveloped(vector_indexes.create(session, call.body).reply(session.project_id), status=201)


def delete_index(session: Session, call: Call) -> Reply:
    """Answered as if the vectors went later, although they are gone."""
    vector_indexes.remove(session, vector_indexes.by_id(session, call.path["id"]))
    return enveloped({"deleted": True, "queued": True}, status=202)


def index_stats(session: Session, call: Call) -> Reply:
    """An unknown index has zeros, not 404."""
    found = [index for index in vector_indexes.listed(session) if index.id == call.path["id"]]
    total, indexed = vector_indexes.stats(session, found[0]) if found else (0, 0)
    return enveloped({"totalRecords": total, "indexedRecords": indexed})


def upsert_vectors(session: Session, call: Call) -> Reply:
    """Vectors for existing records, all or none."""
    index = vector_indexes.by_id(session, call.path["id"])
    written = vector_indexes.upsert_vectors(session, index, call.body.get("items"))
    return enveloped({"updated": written, "requested": written})


def search_vectors(session: Session, call: Call) -> Reply:
    """Whole records, nearest first; no total."""
    return enveloped([spliced(stored, {"__score": score}) for stored, score in nearest(session, call.body)])


def create_links(session: Session, call: Call) -> Reply:
    """Join two labels by equal values; no match is a success too."""
    links.link_matching(session, links.read_join(call.body))
    return enveloped({"message": "Relations have been successfully created"}, status=201)


def delete_links(session: Session, call: Call) -> Reply:
    """The reverse of a join."""
    links.unlink_matching(session, links.read_join(call.body))
    return enveloped({"message": "Relations have been successfully deleted"})


def attach_links(session: Session, call: Call) -> Reply:
    """Links by record id."""
    links.attach(session, call.path["id"], call.body)
    message = f"Relations to Record {call.path['id']} have been successfully created"
    return enveloped({"message": message}, status=201)


def detach_links(session: Session, call: Call) -> Reply:
    """The reverse of attaching."""
    links.detach(session, call.path["id"], call.body)
    return enveloped({"message": f"Relations to Record {call.path['id']} have been successfully deleted"})


def search_links(session: Session, call: Call) -> Reply:
    """Links by type, at most 1,000 of them, and their number."""
    found, total = links.find(session, call.body)
    return enveloped(found, total=total)


def create_constraint(session: Session, call: Call) -> Reply:
    """Sandbox only: what an operator does in the server's database."""
    label, name = call.body.get("label"), call.body.get("property")
    if not isinstance(label, str) or not isinstance(name, str):
        raise refused(400, "label and property are needed")
    constraints.create(session, label, name)
    return enveloped({"label": label, "property": name}, status=201)


def drop_constraint(session: Session, call: Call) -> Reply:
    """Sandbox only: the reverse of making a constraint."""
    label, name = str(call.body.get("label")), str(call.body.get("property"))
    constraints.drop(session, label, name)
    return enveloped({"label": label, "property": name})


API = "/api/v1"
ROUTES = (
    Route("GET", "/health", Reply(200, b'{"status":"ok"}'), open=True),
    Route("GET", f"{API}/settings", enveloped(SETTINGS), open=True),
    Route("GET", f"{API}/sdk/settings", enveloped(SETTINGS), open=True),
    Route("GET", f"{API}/tokens/current", current_token, reads=True),
    Route("POST", f"{API}/records/import/json", record_routes.import_json),
    Route("POST", f"{API}/records/search", search_records, reads=True),
    Route("POST", f"{API}/records/delete", record_routes.delete_matching),
    Route("POST", f"{API}/records", record_routes.create_one),
    Route("POST", f"{API}/records/{{id}}/search", record_routes.search_linked, reads=True),
    Route("GET", f"{API}/records/{{id}}", record_routes.read_one, reads=True),
    Route("PUT", f"{API}/records/{{id}}", record_routes.replace_one),
    Route("PATCH", f"{API}/records/{{id}}", record_routes.patch_one),
    Route("DELETE", f"{API}/records/{{id}}", record_routes.delete_one),
    Route("POST", f"{API}/labels/search", count_labels, reads=True),
    Route("POST", f"{API}/properties/search", list_properties, reads=True),
    Route("GET", f"{API}/ai/indexes", list_indexes, reads=True),
    Route("POST", f"{API}/ai/indexes", create_index),
    Route("DELETE", f"{API}/ai/indexes/{{id}}", delete_index),
    Route("GET", f"{API}/ai/indexes/{{id}}/stats", index_stats, reads=True),
    Route("POST", f"{API}/ai/indexes/{{id}}/vectors/upsert", upsert_vectors),
    Route("POST", f"{API}/ai/search", search_vectors, reads=True),
    Route("POST", f"{API}/relationships/create-many", create_links),
    Route("POST", f"{API}/relationships/delete-many", delete_links),
    Route("POST", f"{API}/relationships/search", search_links, reads=True),
    Route("POST", f"{API}/relationships/{{id}}", attach_links),
    Route("PUT", f"{API}/relationships/{{id}}", detach_links),
    Route("POST", "/__sandbox__/constraints", create_constraint, open=True),
    Route("DELETE", "/__sandbox__/constraints", drop_constraint, open=True),
)
