"""Records on disk: insert, replace, merge, delete, each with the counts and look-ups that hang on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from byov_migrate.sandbox.replies import Refusal, import_failed
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.values import Content
from byov_migrate.sandbox.vectors import VectorChange

LOOKUP_NAMES = ("byovKey", "byovBatch", "byovSlice", "byovRef_")
META = ("__label", "__id", "__proptypes")
COLUMNS = "number, id, label, body, hidden"
NO_LABEL = ""  # a single record may be created without one
CHUNK = 500
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it lies on disk; `body` is its JSON in replies. A hidden one is answered as `[]`."""

    number: int
    id: str
    label: str
    body: str
    hidden: bool = False

    def content(self) -> Content:
        """Properties and types, without the fields that RushDB adds."""
        fields = orjson.loads(self.body)
        types = fields["__proptypes"]
        return Content({name: value for name, value in fields.items() if name not in META}, types)

    def reply(self) -> Any:
        """The record as it stands in a reply, not read again."""
        return [] if self.hidden else orjson.Fragment(self.body)


class NotUnique(Exception):
    """A uniqueness constraint is violated."""

    def __init__(self, number: int, label: str, name: str, value: Any) -> None:
        shown = orjson.dumps(float(value) if type(value) is int else value).decode()
        shown = f"'{value}'" if isinstance(value, str) else shown
        super().__init__(f"Node({number}) already exists with label `{label}` and property `{name}` = {shown}")

    def refusal(self) -> Refusal:
        """The 400 of the import route."""
        return import_failed(str(self))


def add(session: Session, drafts: Sequence[tuple[str, Content]]) -> list[Stored]:
    """Insert records with new ids, in order. Raises NotUnique."""
    first = _next_number(session)
    records = [
        _stored(number, session.new_id(), label, content)
        for number, (label, content) in enumerate(drafts, start=first)
    ]  # fmt: skip
    session.connection.executemany(
        "INSERT INTO record (number, project, id, label, body, hidden) VALUES (?, ?, ?, ?, ?, ?)",
        [(stored.number, session.project, stored.id, stored.label, stored.body, stored.hidden) for stored in records],
    )
    _attach(session, [(stored, content) for stored, (_, content) in zip(records, drafts, strict=True)])
    return records


def replace(session: Session, old: Stored, label: str, content: Content) -> Stored:
    """Write other content under the same id; vectors are left alone. Raises NotUnique."""
    detach(session, [old])
    new = _stored(old.number, old.id, label, content)
    session.connection.execute(
        "UPDATE record SET label = ?, body = ?, hidden = ? WHERE number = ?",
        (new.label, new.body, new.hidden, new.number),
    )
    _attach(session, [(new, content)])
    return new


def erase_vectors(session: Session, numbers: Sequence[int]) -> None:
    """Remove all vectors of these records."""
    for chunk in chunks(numbers):
        session.connection.execute(f"DELETE FROM vector WHERE record IN ({marks(chunk)})", chunk)
    session.vector_changes.append(VectorChange(None, numbers))


def remove(session: Session, records: Sequence[Stored]) -> None:
    """Delete records with their links and vectors."""
    detach(session, records)
    numbers = [stored.number for stored in records]
    erase_vectors(session, numbers)
    for chunk in chunks(numbers):
        session.connection.execute(f"DELETE FROM edge WHERE source IN ({marks(chunk)})", chunk)
        session.connection.execute(f"DELETE FROM edge WHERE target IN ({marks(chunk)})", chunk)
        session.connection.execute(f"DELETE FROM record WHERE number IN ({marks(chunk)})", chunk)


def by_id(session: Session, record_id: str) -> Stored | None:
    """The record of this project with that id, if there is one."""
    row = session.connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE id = ? AND project = ?", (record_id, session.project)
    ).fetchone()
    return None if row is None else stored_from(row)


def by_numbers(session: Session, numbers: Iterable[int]) -> Iterator[Stored]:
    """Records in the order of `numbers`, read in the order in which they lie on disk."""
    wanted = list(numbers)
    found: dict[int, Stored] = {}
    for chunk in chunks(sorted(wanted)):
        rows = session.connection.execute(f"SELECT {COLUMNS} FROM record WHERE number IN ({marks(chunk)})", chunk)
        found.update((row[0], stored_from(row)) for row in rows)
    return (found[number] for number in wanted)


def numbers_of(session: Session, ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Number and label of the records of this project among `ids`."""
    found: dict[str, tuple[int, str]] = {}
    for chunk in chunks(ids):
        rows = session.connection.execute(
            f"SELECT id, number, label FROM record WHERE id IN ({marks(chunk)}) AND project = ?",
            [*chunk, session.project],
        )
        found.update((row[0], (row[1], row[2])) for row in rows)
    return found


def stored_from(row: Sequence[Any]) -> Stored:
    """A record from the columns of COLUMNS."""
    return Stored(row[0], row[1], row[2], row[3], bool(row[4]))


def chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Pieces short enough to be the parameters of one statement."""
    for start in range(0, len(items), CHUNK):
        yield list(items[start : start + CHUNK])


def marks(items: Sequence[object]) -> str:
    """As many placeholders as there are items."""
    return ", ".join("?" * len(items))


def detach(session: Session, records: Sequence[Stored]) -> None:
    """Take records out of the counts and look-ups before they change or go."""
    for stored in records:
        _count(session, stored, stored.content(), -1)
    for chunk in chunks([stored.number for stored in records]):
        session.connection.execute(f"DELETE FROM lookup WHERE record IN ({marks(chunk)})", chunk)
        session.connection.execute(f"DELETE FROM unique_value WHERE record IN ({marks(chunk)})", chunk)


def _stored(number: int, record_id: str, label: str, content: Content) -> Stored:
    head = {"__label": label, "__id": record_id} if label else {"__id": record_id}
    body = orjson.dumps({**head, **content.properties, "__proptypes": content.types}).decode()
    return Stored(number, record_id, label, body, bool(content.properties.get("records")))


def _next_number(session: Session) -> int:
    row = session.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    return 1 if row is None else int(row[0]) + 1


def _attach(session: Session, written: Sequence[tuple[Stored, Content]]) -> None:
    lookups: list[tuple[Any, ...]] = []
    for stored, content in written:
        _count(session, stored, content, 1)
        lookups += [
            (session.project, name, value, stored.number)
            for name, value in content.properties.items()
            if isinstance(value, str) and name.startswith(LOOKUP_NAMES)
        ]
        for name in session.unique_properties.get(stored.label, ()):
            _claim(session, stored, name, content.properties.get(name))
    session.connection.executemany("INSERT INTO lookup VALUES (?, ?, ?, ?)", lookups)


def _count(session: Session, stored: Stored, content: Content, change: int) -> None:
    for name, kind in content.types.items():
        session.property_changes[name, stored.label, kind] += change


def _claim(session: Session, stored: Stored, name: str, value: Any) -> None:
    if value is None:
        return
    text = orjson.dumps(value).decode()
    try:
        session.connection.execute(
            "INSERT INTO unique_value VALUES (?, ?, ?, ?)", (stored.label, name, text, stored.number)
        )
    except sqlite3.IntegrityError as exc:
        owner = session.connection.execute(
            "SELECT record FROM unique_value WHERE label = ? AND property = ? AND value = ?",
            (stored.label, name, text),
        ).fetchone()[0]
        raise NotUnique(owner, stored.label, name, value) from exc
