"""What is planned, under way and proved. Every change and the record of it share a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from byov_migrate.records import Batch, Embedded, KeyRange, KeyText, Position, Receipt, Rejected
from byov_migrate.state import edges, schema
from byov_migrate.state.intents import LATE_UNTIL, Intent, packed_row, unpacked_rows
from byov_migrate.state.ledger import UNSETTLED
from byov_migrate.state.store import KEYS_A_QUERY, Store, fact, replacing
from byov_migrate.state.vector_cache import forget_vectors, keep_vectors


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """A table's stored plan and how much of it is done."""

    rows: int
    snapshot: str
    planned_at: float
    ranges: int
    ranges_done: int


class Journal:
    """Plans, intents and progress."""

    def __init__(self, store: Store, *, keep_vectors: bool = False) -> None:
        self._store = store
        self._keeps_vectors = keep_vectors

    def plan(self, table: str) -> PlanTotals | None:
        """A table's stored plan, or None when it was not planned yet."""
        ranges = select(func.count(), func.count().filter(schema.key_range.c.done))
        with self._store.reading() as connection:
            row = connection.execute(select(schema.plan).where(schema.plan.c.table_name == table)).one_or_none()
            if row is None:
                return None
            total, done = connection.execute(ranges.where(schema.key_range.c.table_name == table)).one()
        return PlanTotals(row.rows, row.snapshot, row.planned_at, total, int(done))

    def store_plan(self, table: str, bounds: Sequence[KeyText], *, rows: int, snapshot: str) -> None:
        """Store consecutive ranges between `bounds`, open at both ends, in one transaction."""
        edges = [None, *(list(bound) for bound in bounds), None]
        ranges = [
            {"table_name": table, "lower": lower, "upper": upper, "position": None, "done": False}
            for lower, upper in pairwise(edges)
        ]
        totals = {"table_name": table, "rows": rows, "snapshot": snapshot, "planned_at": self._store.clock()}
        with self._store.writing() as connection:
            connection.execute(insert(schema.plan).values(**totals))
            connection.execute(insert(schema.key_range), ranges)

    def open_ranges(self, table: str) -> list[KeyRange]:
        """What is left of the plan, in key order. The last range is always among them: rows may have been added."""
        columns = schema.key_range.c
        query = select(schema.key_range).where(columns.table_name == table).order_by(columns.id)
        rows = [row for row in self._store.rows(query) if not row["done"] or row["upper"] is None]
        return [KeyRange(row["id"], _text(row["lower"]), _text(row["upper"]), _text(row["position"])) for row in rows]

    def rewind(self, table: str) -> None:
        """Let every range be read again from its beginning; rows that are stored stay known."""
        here = schema.key_range.c.table_name == table
        with self._store.writing() as connection:
            connection.execute(update(schema.key_range).where(here).values(position=None, done=False))

    def intend(self, table: str, batch: Batch, properties: Sequence[str]) -> None:
        """Record a batch before its first byte is sent; `properties` are the embeddings' names in order.

        From here on nothing is known of the records it writes over, until the batch is settled.
        """
        row = {
            "batch": batch.id,
            "table_name": table,
            "run": self._store.run or "",
            "sent_at": self._store.clock(),
            "rows": orjson.dumps([packed_row(item, properties, batch.way) for item in batch.rows]),
        }
        with self._store.writing() as connection:
            connection.execute(replacing(schema.intent).values(**row))
            if batch.way in ("append", "rewrite"):
                keys = [item.document.key for item in batch.rows]
                _unsettle(connection, table, keys, with_vectors=batch.way == "rewrite")

    def point(self, table: str, record_ids: Mapping[str, str]) -> None:
        """Key -> record id: from now on that is the key's record, to be written whole by the next sync or repair."""
        rows = [
            {"table_name": table, "key": key, "record_id": record_id, "hash": UNSETTLED, "batch": ""}
            for key, record_id in record_ids.items()
        ]
        with self._store.writing() as connection:
            _insert_all(connection, schema.ledger, rows)
            _unsettle(connection, table, list(record_ids), with_vectors=True)
            edges.loosen_around(connection, table, list(record_ids))

    def begin_removal(self, table: str, keys: Sequence[str]) -> None:
        """Record that these records are about to be deleted: a row that comes back meanwhile is a new one."""
        with self._store.writing() as connection:
            _unsettle(connection, table, keys, with_vectors=False)

    def end_removal(self, table: str, keys: Sequence[str]) -> None:
        """Forget records that are seen to be gone, and their rejects."""
        with self._store.writing() as connection:
            for start in range(0, len(keys), KEYS_A_QUERY):
                some = list(keys[start : start + KEYS_A_QUERY])
                for forgotten in (schema.ledger, schema.vector):
                    columns = forgotten.c
                    connection.execute(delete(forgotten).where(columns.table_name == table, columns.key.in_(some)))
                forget_vectors(connection, table, some)
            edges.forget_refs(connection, table, keys)
            _forget_rejects(connection, table, keys)
            _progressed(connection, self._store)

    def intents(self, table: str) -> list[Intent]:
        """Batches of earlier runs that were never settled."""
        query = select(schema.intent).where(schema.intent.c.table_name == table).order_by(schema.intent.c.sent_at)
        return [Intent(row["batch"], row["sent_at"], unpacked_rows(row["rows"])) for row in self._store.rows(query)]

    def drop_intent(self, batch: str) -> None:
        """Forget a batch that is proved not to be stored."""
        with self._store.writing() as connection:
            connection.execute(delete(schema.intent).where(schema.intent.c.batch == batch))

    def advance(
        self,
        table: str,
        receipts: Sequence[Receipt],
        properties: Sequence[str],
        rejected: Sequence[Rejected] = (),
        *,
        late_s: float = 0.0,
    ) -> int:
        """Settle proved batches and the rejects read with them: ledger, vectors, positions, intents at once.

        late_s: how long a request about settled vectors can still be running at the target. Return how many of the
        rejects were not known before.
        """
        with self._store.writing() as connection:
            for receipt in receipts:
                self._settle(connection, table, receipt, properties)
            added = sum(self._reject(connection, table, row) for row in rejected)
            if late_s > 0:
                until = {"name": LATE_UNTIL, "value": str(self._store.clock() + late_s)}
                connection.execute(replacing(schema.meta).values(**until))
            _progressed(connection, self._store)
        return added

    def _settle(self, connection: Connection, table: str, receipt: Receipt, properties: Sequence[str]) -> None:
        batch, ids = receipt.batch, receipt.record_ids
        stored = [item for item in batch.rows if item.document.key in ids]
        if batch.way != "attach":
            _settle_links(connection, table, stored, ids)
            _loosen_refused(connection, table, batch, ids)
            _insert_all(connection, schema.ledger, [_ledger_row(table, batch.id, item, ids) for item in stored])
        else:
            gone = [item.document.key for item in batch.rows if item.document.key not in ids]
            _unsettle(connection, table, gone, with_vectors=True)
        _insert_vectors(connection, [row for item in stored for row in _vector_rows(table, item, properties)])
        if self._keeps_vectors:
            keep_vectors(connection, table, properties, stored)
        _forget_rejects(connection, table, [item.document.key for item in stored])
        connection.execute(delete(schema.intent).where(schema.intent.c.batch == batch.id))
        for position in batch.covers:
            _move(connection, position)

    def late_s(self) -> float:
        """How long a request of an earlier run about vectors that are settled can still be running; by the clock."""
        with self._store.reading() as connection:
            until = connection.execute(fact(LATE_UNTIL)).scalar_one_or_none()
        return max(float(until) - self._store.clock(), 0.0) if until else 0.0

    def settle_attached(self, table: str, intent: Intent) -> None:
        """Settle a batch of an earlier run that attached vectors, all of which were found in the target."""
        vectors = [
            _vector_row(table, name, row.key, text_hash, scores)
            for row in intent.rows
            for name, (text_hash, scores) in row.vectors.items()
        ]
        with self._store.writing() as connection:
            _insert_vectors(connection, vectors)
            _forget_rejects(connection, table, [row.key for row in intent.rows])
            connection.execute(delete(schema.intent).where(schema.intent.c.batch == intent.batch))

    def settle_intent(self, table: str, intent: Intent, record_ids: Mapping[str, str]) -> None:
        """Settle a batch of an earlier run that was found whole in the target."""
        records, vectors = [], []
        for row in intent.rows:
            ids = {"record_id": record_ids[row.key], "hash": row.hash, "batch": intent.batch}
            records.append({"table_name": table, "key": row.key, **ids})
            vectors += [
                _vector_row(table, name, row.key, text_hash, scores)
                for name, (text_hash, scores) in row.vectors.items()
            ]
        with self._store.writing() as connection:
            edges.loosen_around(connection, table, [row.key for row in intent.rows])
            edges.settle_refs(connection, table, {row.key: row.refs for row in intent.rows})
            _insert_all(connection, schema.ledger, records)
            _insert_vectors(connection, vectors)
            _forget_rejects(connection, table, [row["key"] for row in records])
            connection.execute(delete(schema.intent).where(schema.intent.c.batch == intent.batch))

    def accept_rejects(self, table: str, *, key: str | None, code: str | None, by: str, reason: str) -> int:
        """Accept the reject of a key, or all of a code; return how many there were. Accepted ones are no difference."""
        columns = schema.reject.c
        chosen = columns.key == key if key is not None else columns.code == code
        values = {"accepted_at": self._store.clock(), "accepted_by": by, "accepted_reason": reason}
        with self._store.writing() as connection:
            statement = update(schema.reject).where(columns.table_name == table, chosen).values(**values)
            return int(connection.execute(statement).rowcount)

    def forget_rejects(self, table: str, keys: Sequence[str]) -> None:
        """Drop rejects of rows that are gone from the source."""
        with self._store.writing() as connection:
            _forget_rejects(connection, table, keys)

    def _reject(self, connection: Connection, table: str, row: Rejected) -> bool:
        """Store or renew one reject; True when the key was not rejected before."""
        now, columns = self._store.clock(), schema.reject.c
        here = (columns.table_name == table) & (columns.key == row.key)
        known = connection.execute(select(columns.attempts).where(here)).scalar_one_or_none()
        values = {
            "stage": row.stage,
            "code": row.code,
            "reason": row.reason,
            "column": row.column,
            "setting": row.setting,
            "attempts": (known or 0) + 1,
            "last_at": now,
        }
        if known is not None:
            connection.execute(update(schema.reject).where(here).values(**values))
            return False
        first = {"table_name": table, "key": row.key, "position": list(row.position), "first_at": now}
        connection.execute(insert(schema.reject).values(**first, **values))
        return True


def _loosen_refused(connection: Connection, table: str, batch: Batch, ids: Mapping[str, str]) -> None:
    """Rows that were refused have lost links for nothing: their records hold what they held, and are linked again."""
    refused = [item.document.key for item in batch.rows if item.document.known and item.document.key not in ids]
    if refused:
        edges.loosen_around(connection, table, refused)


def _settle_links(connection: Connection, table: str, stored: Sequence[Embedded], ids: Mapping[str, str]) -> None:
    """What leads from these records, where that changed, and what leads to those that are new."""
    new = [item.document for item in stored if _is_new(item, ids)]
    if new:
        edges.loosen_around(connection, table, [document.key for document in new])
    written = {document.key: document.refs for document in new}
    written |= {
        item.document.key: item.document.refs
        for item in stored
        if (known := item.document.known) and (not known.hash or known.refs != item.document.refs)
    }
    if written:
        edges.settle_refs(connection, table, written)


def _is_new(item: Embedded, ids: Mapping[str, str]) -> bool:
    known = item.document.known
    return known is None or ids[item.document.key] != known.record_id


def _insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Rows of texts and numbers, straight to SQLite: SQLAlchemy would look at every value of every row."""
    if rows:
        statement = replacing(table).compile(column_keys=list(rows[0]))
        connection.exec_driver_sql(str(statement), rows)


def _insert_vectors(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Proved by what was sent, whoever vouched for the vector before."""
    _insert_all(connection, schema.vector, rows)
    columns = schema.adopted.c
    if rows and connection.execute(select(columns.key).limit(1)).first():
        here = (
            (columns.table_name == bindparam("t"))
            & (columns.property == bindparam("p"))
            & (columns.key == bindparam("k"))
        )
        known = [{"t": row["table_name"], "p": row["property"], "k": row["key"]} for row in rows]
        connection.execute(delete(schema.adopted).where(here), known)


def _unsettle(connection: Connection, table: str, keys: Sequence[str], *, with_vectors: bool) -> None:
    """From now on nothing is known of these records but their ids."""
    columns, vectors = schema.ledger.c, schema.vector.c
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = list(keys[start : start + KEYS_A_QUERY])
        here = (columns.table_name == table) & columns.key.in_(some)
        connection.execute(update(schema.ledger).where(here).values(hash=UNSETTLED))
        if with_vectors:
            connection.execute(delete(schema.vector).where(vectors.table_name == table, vectors.key.in_(some)))


def _progressed(connection: Connection, store: Store) -> None:
    connection.execute(update(schema.run).where(schema.run.c.id == store.run).values(progress_at=store.clock()))


def _forget_rejects(connection: Connection, table: str, keys: Sequence[str]) -> None:
    """A row that arrived is no reject any more."""
    columns = schema.reject.c
    if not connection.execute(select(func.count()).where(columns.table_name == table)).scalar_one():
        return
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = columns.key.in_(keys[start : start + KEYS_A_QUERY])
        connection.execute(delete(schema.reject).where(columns.table_name == table, some))


def _move(connection: Connection, position: Position) -> None:
    values: dict[str, Any] = {"done": position.done}
    if position.upto is not None:
        values["position"] = list(position.upto)
    connection.execute(update(schema.key_range).where(schema.key_range.c.id == position.range_id).values(**values))


def _text(stored: list[str] | None) -> KeyText | None:
    return None if stored is None else tuple(stored)


def _ledger_row(table: str, batch: str, item: Embedded, ids: Mapping[str, str]) -> dict[str, Any]:
    document = item.document
    return {
        "table_name": table,
        "key": document.key,
        "record_id": ids[document.key],
        "hash": document.hash,
        "batch": batch,
    }


def _vector_rows(table: str, item: Embedded, properties: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name, text_hash, scores in zip(properties, item.document.text_hashes, item.scores, strict=True):
        if text_hash is not None and scores is not None:
            yield _vector_row(table, name, item.document.key, text_hash, scores)


def _vector_row(table: str, name: str, key: str, text_hash: str, scores: tuple[float, float, float]) -> dict[str, Any]:
    numbers = {f"score_{number}": score for number, score in enumerate(scores)}
    return {"table_name": table, "property": name, "key": key, "text_hash": text_hash, **numbers}
