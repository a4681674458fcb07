"""A thin client for the contract: one method a route, nothing retried, nothing hidden."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

RETURNED: Mapping[str, Any] = {"suggestTypes": True, "returnResult": True}
SETTLE_S = 10.0


@dataclass(frozen=True)
class Rushdb:
    """A server under test. `cypher` runs a statement in the database below it, where the test may do that."""

    http: httpx.Client
    url: str
    api_key: str
    read_key: str | None = None
    other_key: str | None = None
    is_sandbox: bool = False
    cypher: Callable[[str], object] | None = None
    labels: list[str] = field(default_factory=list)  # made by the running test; their records go at its end
    indexes: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """One request below /api/v1, with the write key unless another is given."""
        headers = {"authorization": f"Bearer {key or self.api_key}"}
        return self.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    def send(self, method: str, path: str, content: bytes, **headers: str) -> httpx.Response:
        """A body as it is."""
        sent = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        return self.http.request(
            method,
            f"/api/v1{path}",
            content=content,
            headers=sent | {k.replace("_", "-"): v for k, v in headers.items()},
        )

    def label(self, stem: str = "Contract") -> str:
        """A label that nobody has used, emptied after the test."""
        name = f"{stem}{secrets.token_hex(4)}"
        self.labels.append(name)
        return name

    def import_rows(self, label: str, rows: Sequence[Any], **options: Any) -> httpx.Response:
        """The import route, with types suggested and a result asked for unless `options` say otherwise."""
        body = {"label": label, "data": rows, "options": {**RETURNED, **options}}
        return self.call("POST", "/records/import/json", body)

    def create(self, label: str, rows: Sequence[Any], **options: Any) -> list[Any]:
        """Import rows and return the records of the reply."""
        return list(data(self.import_rows(label, rows, **options), 201))

    def search(self, label: str, where: Mapping[str, Any] | None = None, **query: Any) -> httpx.Response:
        """One search for records of a label."""
        return self.call("POST", "/records/search", {"labels": [label], "where": where or {}, **query})

    def find(self, label: str, where: Mapping[str, Any] | None = None, **query: Any) -> list[Any]:
        """The records (or groups) of one page."""
        return list(data(self.search(label, where, **query)))

    def total(self, label: str, where: Mapping[str, Any] | None = None) -> int:
        """How many records of a label match."""
        response = self.search(label, where, limit=1)
        assert response.status_code == 200, response.text
        return int(response.json()["total"])

    def record(self, record_id: str) -> Any:
        """One record by its id."""
        return data(self.call("GET", f"/records/{record_id}"))

    def create_index(self, label: str, name: str, dimensions: int = 4, **more: Any) -> httpx.Response:
        """An external index; it goes at the end of the test."""
        definition = {"label": label, "propertyName": name, "dimensions": dimensions}
        response = self.call(
            "POST", "/ai/indexes", {"sourceType": "external", "similarityFunction": "cosine", **definition, **more}
        )
        if response.status_code == 201:
            self.indexes.append(response.json()["data"]["id"])
        return response

    def index(self, label: str, name: str, dimensions: int = 4, **more: Any) -> str:
        """A new index's id."""
        return str(data(self.create_index(label, name, dimensions, **more), 201)["id"])

    def status(self, index: str) -> str:
        """What the index list says of an index."""
        listed = data(self.call("GET", "/ai/indexes"))
        return str(next(row["status"] for row in listed if row["id"] == index))

    def stats(self, index: str) -> tuple[int, int]:
        """Records that have the property, and those of them that have a vector."""
        counts = data(self.call("GET", f"/ai/indexes/{index}/stats"))
        return counts["totalRecords"], counts["indexedRecords"]

    def upsert(self, index: str, vectors: Iterable[tuple[str, Sequence[Any]]]) -> httpx.Response:
        """One vectors call."""
        items = [{"recordId": record_id, "vector": vector} for record_id, vector in vectors]
        return self.call("POST", f"/ai/indexes/{index}/vectors/upsert", {"items": items})

    def put_vectors(self, index: str, vectors: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """A vectors call that must succeed."""
        data(self.upsert(index, vectors))

    def nearest(self, label: str, name: str, vector: Sequence[float], **more: Any) -> httpx.Response:
        """A search by vector, exact only with a `where`."""
        body = {"labels": [label], "propertyName": name, "queryVector": vector, "sourceType": "external"}
        return self.call("POST", "/ai/search", {**body, **more})

    def exact(self, label: str, name: str, vector: Sequence[float], **more: Any) -> list[Any]:
        """Search with a `where` that every record with a key fulfils."""
        return list(data(self.nearest(label, name, vector, **{"where": {"k": {"$exists": True}}, **more})))

    def join(self, source: str, key: str, target: str, target_key: str, kind: str, /, **more: Any) -> httpx.Response:
        """A join of two labels by equal values."""
        body = {"source": {"label": source, "key": key}, "target": {"label": target, "key": target_key}, "type": kind}
        return self.call("POST", "/relationships/create-many", {"direction": "out", **body, **more})

    def linked(self, label: str, other: str, kind: str) -> int:
        """How many records of `label` have a link of that type out to `other`."""
        return self.total(label, {other: {"$relation": {"type": kind, "direction": "out"}}})

    def clean_up(self) -> None:
        """Remove the test's records by id and its indexes; what others left is not touched."""
        for index in self.indexes:
            self.call("DELETE", f"/ai/indexes/{index}")
        for label in self.labels:
            # not by find(): a record with a property named `records` is an empty list in every reply
            while ids := self._ids(label):
                data(self.call("POST", "/records/delete", {"labels": [label], "where": {"$id": {"$in": ids}}}), 201)

    def _ids(self, label: str) -> list[str]:
        found = self.find(label, limit=1000)
        ids = [record["__id"] for record in found if record]
        if found and not ids:
            everything = {"labels": [label], "where": {"records": {"$exists": True}}}
            data(self.call("POST", "/records/delete", everything), 201)
            return self._ids(label)
        return ids


def data(response: httpx.Response, status: int = 200) -> Any:
    """The data of an envelope that says success."""
    assert response.status_code == status, response.text
    envelope = response.json()
    assert envelope["success"] is True
    return envelope["data"]


def message(response: httpx.Response, status: int) -> str:
    """The text of a refusal."""
    assert response.status_code == status, response.text
    return str(response.json()["message"])


def eventually(check: Callable[[], bool]) -> bool:
    """Whether something becomes true within some seconds: a real server builds its shared index in the background."""
    deadline = time.monotonic() + SETTLE_S
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
