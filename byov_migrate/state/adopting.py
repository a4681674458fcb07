"""A state made anew from what both ends hold: beside its place while it is made, put there whole or not at all.

Records and vectors come from the scratch file of a comparison, set by set. A record that is not what its row says is
unsettled: the next sync reads that row again, so nothing has to be known of the time since the lost state's last run.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, update

from byov_migrate.errors import Refused
from byov_migrate.state import open_state, schema
from byov_migrate.state.comparison import remove_scratch
from byov_migrate.state.database import translated_errors
from byov_migrate.state.store import Store, replacing

_PREPARE = """
DROP TABLE IF EXISTS temp.adopted;
CREATE TEMP TABLE adopted (
    key TEXT PRIMARY KEY, record_id TEXT NOT NULL UNIQUE, stored TEXT NOT NULL, batch TEXT NOT NULL
) WITHOUT ROWID;
"""
# Of several records of a key the first stays: ids are in order of time.
_CHOOSE = """
INSERT OR IGNORE INTO adopted
SELECT key, record_id, coalesce(stored, ''), coalesce(batch, '') FROM target_record
 WHERE t = :t AND key <> :trial ORDER BY record_id
"""
# A vector is known where the index holds it. Its scores are the source's own where that holds the very vector.
_FROM_SOURCE = "s.score_0 IS NOT NULL AND s.mark = c.mark"
_VECTORS = """
  FROM adopted a
  JOIN target_content c ON c.t = :t AND c.key = a.key AND c.record_id = a.record_id
  JOIN target_score g ON g.t = :t AND g.key = a.key AND g.record_id = a.record_id AND g.property = c.property
  LEFT JOIN source_content s ON s.t = :t AND s.key = a.key AND s.property = c.property
 WHERE c.mark IS NOT NULL AND g.score_0 IS NOT NULL AND g.score_1 IS NOT NULL AND g.score_2 IS NOT NULL
"""
_SCORES = ", ".join(f"CASE WHEN {_FROM_SOURCE} THEN s.score_{n} ELSE g.score_{n} END" for n in range(3))
_ADD_VECTORS = f"""
INSERT INTO state.vector (table_name, property, key, text_hash, score_0, score_1, score_2)
SELECT :name, c.property, a.key, c.mark, {_SCORES} {_VECTORS}
"""
_ADD_ADOPTED = f"""
INSERT INTO state.adopted (table_name, property, key)
SELECT :name, c.property, a.key {_VECTORS} AND ({_FROM_SOURCE}) IS NOT TRUE
"""
_COUNT_VECTORS = f"""
SELECT c.property, count(*), count(*) FILTER (WHERE ({_FROM_SOURCE}) IS NOT TRUE) {_VECTORS} GROUP BY c.property
"""
# A row that is rejected has no hash: its record is unsettled, so that the next sync tells of it.
_ADD_RECORDS = """
INSERT INTO state.ledger (table_name, key, record_id, hash, batch)
SELECT :name, a.key, a.record_id, CASE WHEN r.key IS NULL OR (
           r.hash = a.stored AND NOT EXISTS (
               SELECT 1 FROM source_content s
                 LEFT JOIN state.vector v ON v.table_name = :name AND v.property = s.property AND v.key = s.key
                WHERE s.t = :t AND s.key = a.key AND v.text_hash IS NOT s.mark
           )
       ) THEN a.stored ELSE '' END, a.batch
  FROM adopted a LEFT JOIN source_row r ON r.t = :t AND r.key = a.key
"""
_ADD_EDGES = """
INSERT INTO state.edge (link, source_key, target_key, mark, linked, seen)
SELECT k.id, a.key, h.target, '', 0, 0
  FROM link_held h JOIN adopted a ON a.record_id = h.record_id JOIN state.link k ON k.name = :link
 WHERE h.l = :l
"""
_UNSETTLE_REFS = """
UPDATE state.ledger SET hash = ''
 WHERE table_name = :name AND key IN (SELECT key FROM source_row WHERE t = :t) AND key IN (
    SELECT i.source FROM link_implied i JOIN adopted a ON a.key = i.source
      LEFT JOIN link_held h ON h.l = i.l AND h.record_id = a.record_id AND h.target = i.target
     WHERE i.l = :l AND h.target IS NULL
    UNION
    SELECT a.key FROM link_held h JOIN adopted a ON a.record_id = h.record_id
      LEFT JOIN link_implied i ON i.l = h.l AND i.source = a.key AND i.target = h.target
     WHERE h.l = :l AND i.target IS NULL
 )
"""
_COUNT = """
SELECT (SELECT count(*) FROM adopted),
       (SELECT count(*) FROM target_record WHERE t = :t AND key <> :trial),
       (SELECT count(*) FROM state.ledger WHERE table_name = :name AND hash = ''),
       (SELECT count(*) FROM adopted WHERE key NOT IN (SELECT key FROM source_row WHERE t = :t)),
       (SELECT count(*) FROM source_row WHERE t = :t AND reject IS NULL AND key NOT IN (SELECT key FROM adopted))
"""
_STRANGE_MARKS = """
SELECT count(*), min(substr(mark, instr(mark, ':') + 1)) FROM target_content
 WHERE t = :t AND property = :property AND mark IS NOT NULL AND substr(mark, instr(mark, ':') + 1) <> :maker
"""
_ADD_STANDING = """
INSERT OR IGNORE INTO state.edge (link, source_key, target_key, mark, linked, seen)
SELECT k.id, s.key, t.key, '', 0, 0
  FROM link_standing x
  JOIN target_record s ON s.t = :source AND s.record_id = x.source
  JOIN target_record t ON t.t = :target AND t.record_id = x.target
  JOIN state.link k ON k.name = :link
 WHERE x.l = :l
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became known of one table.

    doubled: records beyond the first of their key. differing: records whose rows are to be read again. gone: records
    without a row. missing: rows without a record. vectors: by property. scores_adopted: of them, those whose scores
    RushDB itself has told.
    """

    records: int
    doubled: int
    differing: int
    gone: int
    missing: int
    vectors: Mapping[str, int]
    scores_adopted: Mapping[str, int]


class Adopting:
    """Fills a new state from a comparison's connection, to which it is attached. number, table: as compared."""

    def __init__(self, connection: sqlite3.Connection, number: int, table: str, *, trial: str) -> None:
        self._connection = connection
        self._bound = {"t": number, "name": table, "trial": trial}

    def strange_marks(self, property_name: str, maker: str) -> tuple[int, str]:
        """How many records have a text hash that does not end in `maker`, and what one of them ends in."""
        bound = {**self._bound, "property": property_name, "maker": maker}
        count, example = self._connection.execute(_STRANGE_MARKS, bound).fetchone()
        return int(count), str(example)

    def take(self, links: Mapping[int, str]) -> Taken:
        """Records, vectors, and edges that the records hold. links: number in the comparison -> name, of this table."""
        execute = self._connection.execute
        self._connection.executescript(_PREPARE)
        execute("BEGIN")
        execute(_CHOOSE, self._bound)
        execute(_ADD_VECTORS, self._bound)
        execute(_ADD_ADOPTED, self._bound)
        execute(_ADD_RECORDS, self._bound)
        for number, name in links.items():
            execute(_UNSETTLE_REFS, {**self._bound, "l": number})
            execute(_ADD_EDGES, {"l": number, "link": name})
        execute("COMMIT")
        records, stored, differing, gone, missing = execute(_COUNT, self._bound).fetchone()
        counted = execute(_COUNT_VECTORS, self._bound).fetchall()
        vectors, adopted = {name: all_ for name, all_, _ in counted}, {name: some for name, _, some in counted}
        return Taken(records, stored - records, differing, gone, missing, vectors, adopted)


def take_standing(connection: sqlite3.Connection, number: int, link: str, source: int, target: int) -> None:
    """Links that RushDB lists, whatever the source says of them: the next run removes those that it does not tell of.

    number, source, target: of link and tables in the comparison.
    """
    connection.execute(_ADD_STANDING, {"l": number, "link": link, "source": source, "target": target})


def finish_plan(store: Store, table: str) -> None:
    """Every range of the table is done: what is missing is for a sync."""
    with store.writing() as connection:
        columns = schema.key_range.c
        connection.execute(update(schema.key_range).where(columns.table_name == table).values(done=True))


def set_generation(store: Store, generation: int) -> None:
    """The state's place in the row of those that owned its labels."""
    with store.writing() as connection:
        connection.execute(replacing(schema.meta).values(name="generation", value=str(generation)))


def require_empty(path: Path, clock: Callable[[], float]) -> None:
    """Raise Refused when there is a state that knows a record; a run that was refused leaves one that knows none."""
    if not path.exists():
        return
    with contextlib.closing(open_state(path, clock, create=False)) as state, state.store.reading() as connection:
        known = connection.execute(select(func.count()).select_from(schema.ledger)).scalar_one()
        unsettled = connection.execute(select(func.count()).select_from(schema.intent)).scalar_one()
    if known or unsettled:
        raise Refused(
            f"there is a state at {path.name} and it knows {known:,} records; only a lost state is rebuilt; nothing was"
            " changed. If this is not the one that wrote the label, move it away first"
        )


@contextlib.contextmanager
def made_anew(path: Path) -> Iterator[Path]:
    """Where a state is made that is to lie at `path`: put there at the end, removed after an error.

    What an earlier one left that was killed is removed first.
    """
    made = path.with_name(f".{path.name}.adopting")
    remove_scratch(made)
    try:
        yield made
        with translated_errors(path):
            _put_in_place(made, path)
    finally:
        remove_scratch(made)


def _put_in_place(made: Path, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # the write-ahead log would stay behind under the old name
    remove_scratch(path)
    made.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
