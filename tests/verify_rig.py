"""A small table of every type, moved to a RushDB, and every way in which a target can go wrong without us."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import numpy as np
import psycopg

from byov_migrate.jobs.repair import RepairResult, repair
from byov_migrate.jobs.verify import Verification, verify
from tests.sync_rig import SyncRig

ROWS = 40
DIMENSION = 16
TABLE = """
CREATE TABLE job (
    id int PRIMARY KEY, title text, pay float8, open boolean, made timestamptz, tags text[], note text, embedding real[]
)
"""
COLUMNS = ("id", "title", "pay", "open", "made", "tags")
KEPT = "seenBy"


def note(number: int) -> str:
    """The withheld text of a row: more than eight words."""
    return f"note {number} says that nobody but this machine may ever read what stands here {number}"


def make_table(rig: SyncRig, rows: int = ROWS, *, seed: int = 3) -> None:
    """Row 7 has no vector."""
    random = np.random.default_rng(seed)
    rig.table = {
        "columns": list(COLUMNS),
        "keep_properties": [KEPT],
        "embeddings": [{"property": "description", "vector": "embedding", "text": "{note}"}],
    }
    with psycopg.connect(rig.dsn) as connection:
        connection.execute(TABLE)
        for number in range(1, rows + 1):
            vector = None if number == 7 else random.standard_normal(DIMENSION).astype(np.float32).tolist()
            made = f"2024-03-{number % 28 + 1:02d} 12:00:00.{number:06d}+00"
            plain = (
                number,
                f"title {number}",
                number * 1.5,
                number % 2 == 0,
                made,
                [f"tag{number}", "all"],
                note(number),
            )
            connection.execute("INSERT INTO job VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", (*plain, vector))


def proved(rig: SyncRig, **options: Any) -> Verification:
    """A verify."""
    return verify(rig.config(), surroundings=rig.around(), **options)


def mended(rig: SyncRig) -> RepairResult:
    """A repair from the last report."""
    return repair(rig.config(), surroundings=rig.around())


def found(result: Verification) -> dict[str, dict[str, str]]:
    """Kind -> key -> what differs."""
    kinds: dict[str, dict[str, str]] = {}
    for table in result.tables:
        for item in table.differences:
            kinds.setdefault(item.kind, {})[item.key] = item.what
    assert {kind: len(keys) for kind, keys in kinds.items()} == {kind: n for kind, n in result.counts.items() if n}
    return kinds


@dataclass(frozen=True)
class Damage:
    """What was done, and what a verify has to say: kind -> key -> a word that stands in what it tells."""

    name: str
    expected: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Vandal:
    """Changes a target behind the migration's back, by requests of its own."""

    rig: SyncRig
    random: Random

    def damage(self) -> Damage:
        """Do one thing of those that can happen."""
        return self.random.choice(WAYS)(self)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer."""
        headers = {"authorization": f"Bearer {self.rig.key}"}
        with httpx.Client(trust_env=False, timeout=120) as client:
            answer = client.request(method, f"{self.rig.url}/api/v1{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def record(self, key: str) -> tuple[str, dict[str, Any]]:
        """Id and properties."""
        body = {"labels": [self.rig.label], "where": {"byovKey": key}, "limit": 10, "skip": 0}
        [found] = self.request("POST", "/records/search", body)["data"]
        return found["__id"], {name: value for name, value in found.items() if not name.startswith("__")}

    def key(self, *others: str) -> str:
        """A key of a row with a vector."""
        return self.random.choice([str(n) for n in range(1, ROWS + 1) if n != 7 and str(n) not in others])

    def vector(self, key: str) -> list[float]:
        """As PostgreSQL has it."""
        with psycopg.connect(self.rig.dsn) as connection:
            row = connection.execute("SELECT embedding FROM job WHERE id = %s", (int(key),)).fetchone()
        assert row is not None
        return list(row[0])

    def attach(self, record_id: str, vector: Sequence[float]) -> None:
        """Put a vector in place of a record's."""
        rows = self.request("GET", "/ai/indexes")["data"]
        [index] = [row["id"] for row in rows if row["label"] == self.rig.label]
        items = [{"recordId": record_id, "vector": list(vector)}]
        self.request("POST", f"/ai/indexes/{index}/vectors/upsert", {"items": items})

    def put(self, key: str, change: Callable[[dict[str, Any]], Any], *, keep_vector: bool = True) -> None:
        """Rewrite a record with changed properties, and give its vector back."""
        record_id, properties = self.record(key)
        change(properties)
        body = {"label": self.rig.label, "data": properties, "options": {"suggestTypes": True}}
        self.request("PUT", f"/records/{record_id}", body)
        if keep_vector:
            self.attach(record_id, self.vector(key))

    def create(self, properties: Mapping[str, Any]) -> None:
        """A record that nobody asked for."""
        body = {"label": self.rig.label, "data": [dict(properties)], "options": {"suggestTypes": True}}
        self.request("POST", "/records/import/json", body)

    def delete(self, key: str) -> None:
        """Without a trace."""
        record_id, _ = self.record(key)
        self.request("POST", "/records/delete", {"labels": [self.rig.label], "where": {"$id": {"$in": [record_id]}}})


def _missing(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.delete(key)
    return Damage("a record is missing", {"missing": {key: ""}})


def _extra(vandal: Vandal) -> Damage:
    _, properties = vandal.record(vandal.key())
    key = str(vandal.random.randrange(10_000, 20_000))
    vandal.create({**properties, "byovKey": key, "byovSlice": vandal.random.choice(["00", "a7", "ff"])})
    return Damage("a record without a row", {"extra": {key: ""}})


def _stray(vandal: Vandal) -> Damage:
    _, properties = vandal.record(vandal.key())
    properties.pop("byovSlice")
    vandal.create({**properties, "byovKey": "99999"})
    return Damage("a record without a row and a slice", {"extra": {"99999": ""}})


def _doubled(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.create(vandal.record(key)[1])
    return Damage("a record twice", {"doubled": {key: "2 records"}})


def _altered(name: str, change: Callable[[Any, Random], Any]) -> Callable[[Vandal], Damage]:
    def way(vandal: Vandal) -> Damage:
        key = vandal.key()
        vandal.put(key, lambda held: held.update({name: change(held[name], vandal.random)}))
        return Damage(f"{name} altered", {"values": {key: name}})

    return way


def _removed(name: str) -> Callable[[Vandal], Damage]:
    def way(vandal: Vandal) -> Damage:
        key = vandal.key()
        vandal.put(key, lambda held: held.pop(name))
        return Damage(f"{name} removed", {"values": {key: name}})

    return way


def _carrier_removed(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.put(key, lambda held: held.pop("descriptionAlt"))
    return Damage("a spare carrier removed", {"text": {key: "description"}})


def _added(vandal: Vandal) -> Damage:
    key, value = vandal.key(), vandal.random.choice(["x", 3, True, ["a"]])
    vandal.put(key, lambda held: held.update(comment=value))
    return Damage("a property added", {"text": {key: "unknown: comment"}})


def _planted(name: str, *kinds: str) -> Callable[[Vandal], Damage]:
    def way(vandal: Vandal) -> Damage:
        key = vandal.key()
        text = "As it says, " + note(int(key)).upper().replace(" MAY", ",  may") + "!"
        vandal.put(key, lambda held: held.update({name: text}))
        return Damage(f"withheld text in {name}", {kind: {key: name} for kind in kinds})

    return way


def _planted_in_tags(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.put(key, lambda held: held.update(tags=note(int(key)).split()))
    return Damage("withheld text in tags", {"values": {key: "tags"}, "text": {key: "tags"}})


def _renamed_key(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.put(key, lambda held: held.update(byovKey="77777"))
    return Damage("a key altered", {"missing": {key: ""}, "extra": {"77777": ""}})


def _turned(vandal: Vandal) -> Damage:
    """By 0.001, at random."""
    key = vandal.key()
    vector = np.asarray(vandal.vector(key))
    aside = np.random.default_rng(vandal.random.randrange(1 << 30)).standard_normal(DIMENSION)
    aside -= vector * (aside @ vector) / (vector @ vector)
    aside *= np.linalg.norm(vector) / np.linalg.norm(aside)
    vandal.attach(vandal.record(key)[0], (vector * math.cos(0.001) + aside * math.sin(0.001)).tolist())
    return Damage("a vector turned by 0.001", {"vectors": {key: "another vector"}})


def _swapped(vandal: Vandal) -> Damage:
    one = vandal.key()
    other = vandal.key(one)
    vandal.attach(vandal.record(one)[0], vandal.vector(other))
    vandal.attach(vandal.record(other)[0], vandal.vector(one))
    return Damage("two vectors swapped", {"vectors": {one: "another vector", other: "another vector"}})


def _of_another_model(vandal: Vandal) -> Damage:
    key = vandal.key()
    vector = np.random.default_rng(vandal.random.randrange(1 << 30)).standard_normal(DIMENSION)
    vandal.attach(vandal.record(key)[0], vector.tolist())
    return Damage("a vector of another model", {"vectors": {key: "another vector"}})


def _vector_lost(vandal: Vandal) -> Damage:
    key = vandal.key()
    vandal.put(key, lambda _held: None, keep_vector=False)
    return Damage("a vector is missing", {"vectors": {key: "no vector"}})


WAYS: tuple[Callable[[Vandal], Damage], ...] = (
    _missing,
    _extra,
    _stray,
    _doubled,
    _altered("title", lambda value, random: value + random.choice([" ", "x", "\u00e9"])),
    _altered("pay", lambda value, random: value + random.choice([1e-9, -1, 1000])),
    _altered("pay", lambda value, _random: str(value)),
    _altered("open", lambda value, _random: not value),
    _altered("open", lambda value, _random: int(value)),
    _altered("made", lambda value, _random: value.replace("12:00:00", "12:00:01")),
    _altered("tags", lambda value, _random: [*value, "more"]),
    _altered("tags", lambda value, _random: value[::-1]),
    _removed("title"),
    _removed("tags"),
    _removed("pay"),
    _altered("byovHash", lambda value, _random: value[::-1]),
    _altered("byovBatch", lambda value, _random: value[::-1]),
    _altered("byovSlice", lambda value, _random: "00" if value != "00" else "01"),
    _altered("byovText_description", lambda value, _random: "0" + value[1:] if value[0] != "0" else "1" + value[1:]),
    _removed("byovHash"),
    _removed("byovSlice"),
    _carrier_removed,
    _added,
    _planted("title", "values", "text"),
    _planted("description", "text"),
    _planted("descriptionAlt", "text"),
    _planted(KEPT, "text"),
    _planted("comment", "text"),
    _planted_in_tags,
    _renamed_key,
    _turned,
    _swapped,
    _of_another_model,
    _vector_lost,
)
