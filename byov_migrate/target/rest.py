"""The REST wire: RushDB platform 2.11, RushDB Cloud, and the sandbox.

Measured behaviour that shapes this file: `options` without `suggestTypes` turns every value into text; `sourceType` is
needed or an index is not found; a grouped count covers the whole label only when ordered by the count; an index row is
the only place that names the project; `/records/delete` without ids empties the project.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from byov_migrate.errors import (
    Ambiguous,
    CredentialsRefused,
    MigrationError,
    PersonNeeded,
    Refused,
    Retriable,
    RowRefused,
    Unavailable,
)
from byov_migrate.records import LinkEnd, Outgoing, Vector
from byov_migrate.target.http import HttpClient
from byov_migrate.target.wire import Index, LinkPlace, Outbound, Server, ServerKind, Stored, StoredLink, Where

PAGE_ROWS = 1000
DELETE_IDS = 1000
_CREATE = {"suggestTypes": True, "returnResult": True}


class RestWire:
    """One project behind the REST API."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._project: str | None = None
        self._is_at_work = False  # records of the project were read or written
        http.vouch_for = self._require_same_project

    def _require_same_project(self, get: Callable[[str], Any]) -> None:
        """Raise Refused when the project that answers now is not the one that is written to.

        Only the row of an index names a project. Where none was seen the next run looks for its marker.
        """
        if self._project is None and self._is_at_work:
            raise Unavailable(
                "the RushDB key was changed, and without an index it cannot be told whether for the same project"
            )
        if self._project is None:
            return
        answer = get("/api/v1/ai/indexes")
        with _understood(reads=True):
            projects = {str(row.get("projectId", "")) for row in answer["data"]}
        if self._project not in projects:
            raise Refused("the RushDB key was changed to one of another project; nothing was written there")

    @property
    def bytes_sent(self) -> int:
        """Bytes of request bodies so far."""
        return self._http.bytes_sent

    @property
    def requests_sent(self) -> int:
        """Requests so far."""
        return self._http.requests_sent

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def server(self) -> Server:
        """Ask what answers, and whether the key is accepted."""
        token = self._get("/api/v1/tokens/current")  # first: settings answer whatever the key, so they prove none
        settings = self._get("/api/v1/settings")
        with _understood(reads=True):
            if token.get("expired"):
                raise CredentialsRefused("the RushDB key has expired; make a new one")
            budget = (settings.get("byovSandbox") or {}).get("requestBudget")
            kind: ServerKind = (
                "sandbox" if budget is not None else "platform" if settings.get("selfHosted") else "cloud"
            )
            return Server(kind, str(token.get("level", "")), budget)

    def indexes(self) -> list[Index]:
        """The external vector indexes of the project."""
        rows = self._get("/api/v1/ai/indexes")
        with _understood(reads=True):
            found = [_index(row) for row in rows if row.get("sourceType", "external") == "external"]
        self._remember_project(found)
        return found

    def _remember_project(self, indexes: Sequence[Index]) -> None:
        self._project = next((index.project for index in indexes if index.project), self._project)

    def create_index(self, label: str, property_name: str, dimension: int, similarity: str) -> Index:
        """Create an external index, or return the one that exists."""
        body = {"label": label, "propertyName": property_name, "sourceType": "external"}
        size = {"dimensions": dimension, "similarityFunction": similarity}
        try:
            answer = self._http.call("POST", "/api/v1/ai/indexes", {**body, **size})
            with _understood(reads=False):
                made = _index(answer["data"])
        except (RowRefused, Ambiguous) as error:
            for index in self.indexes():
                if (index.label, index.property_name, index.dimension) == (label, property_name, dimension):
                    return index
            raise _no_index(label, property_name, error) from error
        self._remember_project([made])
        return made

    def delete_index(self, index: Index) -> None:
        """Delete an index and see that it is listed no more; one that is gone already is fine."""
        try:
            self._http.call("DELETE", f"/api/v1/ai/indexes/{index.id}")
        except MigrationError:  # also the 404 after a request that acted and whose answer was lost
            if self._is_listed(index):
                raise
            return
        if self._is_listed(index):
            raise Ambiguous(f"target still lists the index on {index.label}.{index.property_name}")

    def _is_listed(self, index: Index) -> bool:
        return any(other.id == index.id for other in self.indexes())

    def count_vectors(self, index: Index) -> int:
        """How many records of the index's label carry a vector."""
        stats = self._get(f"/api/v1/ai/indexes/{index.id}/stats")
        with _understood(reads=True):
            return int(stats["indexedRecords"])

    def create(self, label: str, rows: Sequence[Outbound]) -> dict[str, str]:
        """Create records in one transaction; key -> record id of those the answer names."""
        return dict(self._import(label, rows, _CREATE))

    def merge(self, label: str, rows: Sequence[Outbound], *, clear: bool) -> dict[str, str]:
        """Write over the records with these keys in one transaction; key -> record id. A missing one is created.

        Raise Ambiguous when one key turns out to be several records.
        """
        strategy = "rewrite" if clear else "append"
        written = self._import(label, rows, {**_CREATE, "mergeBy": ["byovKey"], "mergeStrategy": strategy})
        if len(written) > len(dict(written)):
            raise Ambiguous(f"target wrote {len(written)} records for {len(dict(written))} keys")
        return dict(written)

    def _import(self, label: str, rows: Sequence[Outbound], options: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Keys and ids of the records that the answer names."""
        data = [_document(row) for row in rows]
        body = {"label": label, "data": data, "options": options}
        answer = self._http.call("POST", "/api/v1/records/import/json", body)
        self._is_at_work = True
        with _understood(reads=False):
            return [(row["byovKey"], row["__id"]) for row in answer["data"] if "byovKey" in row and "__id" in row]

    def replace(self, label: str, record_id: str, properties: Mapping[str, Outgoing]) -> bool:
        """Replace all properties of a record. Keeps its id and links, erases its vectors. False: no such record.

        Nothing is read from the answer: a property named `data` stands in its place.
        """
        body = {"label": label, "data": dict(properties), "options": {"suggestTypes": True}}
        answer = self._http.call("PUT", f"/api/v1/records/{record_id}", body, may_be_absent=True)
        if answer is None:
            return False
        with _understood(reads=False):
            answer["data"]
        return True

    def attach(self, index: Index, vectors: Mapping[str, Vector]) -> None:
        """Attach or overwrite vectors by record id, all or none. Unknown ids are refused."""
        items = [{"recordId": record_id, "vector": vector} for record_id, vector in vectors.items()]
        answer = self._http.call("POST", f"/api/v1/ai/indexes/{index.id}/vectors/upsert", {"items": items})
        with _understood(reads=False):
            if answer["data"]["updated"] != len(items):
                raise Ambiguous("target attached another number of vectors than it was given")

    def delete(self, label: str, record_ids: Sequence[str]) -> None:
        """Delete records by id, in portions. Never sends a request without ids: that would delete everything."""
        for start in range(0, len(record_ids), DELETE_IDS):
            some = list(record_ids[start : start + DELETE_IDS])
            self._http.call("POST", "/api/v1/records/delete", {"labels": [label], "where": {"$id": {"$in": some}}})

    def find(self, label: str, where: Where, *, limit: int, skip: int = 0) -> tuple[list[Stored], int]:
        """A page of matching records (at most 1,000) and the number of all matches."""
        body = {"labels": [label], "where": where, "limit": limit, "skip": skip}
        answer = self._read("/api/v1/records/search", body)
        self._is_at_work = True
        with _understood(reads=True):
            return [_stored(row) for row in answer["data"]], int(answer["total"])

    def count_by(self, label: str, property_name: str, values: Sequence[str]) -> dict[str, int]:
        """Records of the label for each value; values without a record are absent. At most 500 values."""
        body = {
            "labels": [label],
            "where": {property_name: {"$in": list(values)}},
            "groupBy": [f"$record.{property_name}"],
            "select": {"n": {"$count": "*"}},
            "orderBy": {"n": "desc"},  # without it the count silently covers one page
            "limit": PAGE_ROWS,
        }
        answer = self._read("/api/v1/records/search", body)
        with _understood(reads=True):
            return {row[property_name]: int(row["n"]) for row in answer["data"] if row.get(property_name) in values}

    def search(self, index: Index, vector: Vector, *, where: Where | None, limit: int, skip: int = 0) -> list[Stored]:
        """The nearest records, best first. With any `where` exact, without one approximate and perhaps too few."""
        body: dict[str, Any] = {
            "labels": [index.label],
            "propertyName": index.property_name,
            "queryVector": vector,
            "sourceType": "external",
            "dimensions": index.dimension,
            "similarityFunction": index.similarity,
            "limit": limit,
            "skip": skip,
        }
        if where:
            body["where"] = where
        answer = self._read("/api/v1/ai/search", body)
        with _understood(reads=True):
            return [_stored(row) for row in answer["data"]]

    def join(self, place: LinkPlace, *, sources: Where, targets: Where) -> None:
        """Link each of these sources to the targets whose `byovKey` it holds; links that are there stay.

        An empty `where` is all records of the label. Nothing met is a success too, so links have to be counted.
        """
        self._http.call("POST", "/api/v1/relationships/create-many", _join(place, sources, targets))

    def part(self, place: LinkPlace, *, sources: Where) -> None:
        """Remove the links of these sources to the targets whose `byovKey` they hold now."""
        self._http.call("POST", "/api/v1/relationships/delete-many", _join(place, sources, {}))

    def link(self, place: LinkPlace, hub: str, others: Sequence[str], *, hub_is: LinkEnd) -> None:
        """Link one record, which is the source or the target of all these links, to others, by ids.

        Unknown ids are passed over. A link of this type that leads back is removed.
        """
        direction = "in" if hub_is == "target" else "out"
        body = {"targetIds": list(others), "type": place.type, "direction": direction}
        self._http.call("POST", f"/api/v1/relationships/{hub}", body)

    def link_every(
        self, place: LinkPlace, sources: Sequence[str], targets: Sequence[str], properties: Mapping[str, Outgoing]
    ) -> None:
        """Link every source to every target, by ids, but none to itself. Unknown ids are passed over.

        Unlike `link` and `link_with` it leaves links that lead back, and properties of other names. The labels are gone
        through: seconds where they are large.
        """
        body = {
            "source": {"label": place.source, "where": {"$id": {"$in": list(sources)}}},
            "target": {"label": place.target, "where": {"$id": {"$in": list(targets)}}},
            "type": place.type,
            "direction": "out",
            "manyToMany": True,
            **({"properties": dict(properties)} if properties else {}),
        }
        self._http.call("POST", "/api/v1/relationships/create-many", body)

    def link_with(self, place: LinkPlace, source: str, target: str, properties: Mapping[str, Outgoing]) -> None:
        """Link two records by ids, with these properties in place of earlier ones. What leads back is removed."""
        body = {"targetIds": [target], "type": place.type, "direction": "out", "properties": dict(properties)}
        self._http.call("POST", f"/api/v1/relationships/{source}", body)

    def unlink(self, place: LinkPlace, source: str, targets: Sequence[str]) -> None:
        """Remove links from one source to targets, by ids."""
        body = {"targetIds": list(targets), "typeOrTypes": place.type, "direction": "out"}
        self._http.call("PUT", f"/api/v1/relationships/{source}", body)

    def links(self, kind: str, *, limit: int, skip: int = 0) -> tuple[list[StoredLink], int]:
        """A page of the links of a type (at most 1,000), whatever their labels, and the number of all."""
        body = {"where": {"type": kind}, "limit": limit, "skip": skip}
        answer = self._read("/api/v1/relationships/search", body)
        with _understood(reads=True):
            return [_link(row) for row in answer["data"]], int(answer["total"])

    def canonical(self, value: Outgoing) -> Outgoing:
        """The value as this wire gives it back: REST keeps what it was given."""
        return value

    def _get(self, path: str) -> Any:
        answer = self._http.call("GET", path, reads=True)
        with _understood(reads=True):
            return answer["data"]

    def _read(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._http.call("POST", path, body, reads=True)


@contextlib.contextmanager
def _understood(*, reads: bool) -> Iterator[None]:
    """JSON of another shape than RushDB's comes from something in between; it proves nothing."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        kind = Retriable if reads else Ambiguous
        raise kind(f"target answered in a shape that is not RushDB's ({type(error).__name__})") from error


def _document(row: Outbound) -> dict[str, Any]:
    if not row.vectors:
        return dict(row.properties)
    vectors = [{"propertyName": name, "vector": vector} for name, vector in row.vectors.items()]
    return {**row.properties, "$vectors": vectors}


def _index(row: Mapping[str, Any]) -> Index:
    names = (str(row["id"]), str(row["label"]), str(row["propertyName"]))
    return Index(*names, int(row["dimensions"]), str(row["similarityFunction"]), str(row.get("projectId", "")))


def _stored(row: Mapping[str, Any]) -> Stored:
    own = {name: value for name, value in row.items() if not name.startswith("__")}
    return Stored(str(row.get("__id", "")), str(own.get("byovKey", "")), own, row.get("__score"))


def _join(place: LinkPlace, sources: Where, targets: Where) -> dict[str, Any]:
    source: dict[str, Any] = {"label": place.source, "key": place.ref_property}
    target: dict[str, Any] = {"label": place.target, "key": "byovKey"}
    return {
        "source": source | ({"where": sources} if sources else {}),
        "target": target | ({"where": targets} if targets else {}),
        "type": place.type,
        "direction": "out",
    }


def _link(row: Mapping[str, Any]) -> StoredLink:
    source, target = (str(row["sourceId"]), str(row["sourceLabel"])), (str(row["targetId"]), str(row["targetLabel"]))
    if str(row.get("direction", "out")).lower() == "in":
        source, target = target, source
    return StoredLink(source[0], target[0], source[1], target[1], dict(row.get("properties") or {}))


def _no_index(label: str, property_name: str, error: MigrationError) -> MigrationError:
    if isinstance(error, Ambiguous):
        return Retriable(str(error))  # the same index twice is a 409, so asking again is safe
    return PersonNeeded(
        f"RushDB refuses a vector index on {label}.{property_name}: records of the project hold that property with"
        " another type than text. Give the embedding another property name"
    )
