"""The tables of a comparison and the questions that are asked of them.

`:t` is the table's number, `:name` its name in the attached state, `:sees` whether the next sync can see changes.
"""

# ruff: noqa: S608 - put together from the fixed texts of this file; values are parameters

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal

from byov_migrate.state.comparison_items import UNSAID

# Keys lead everywhere, as in the state: whoever goes through one table in its order meets the others in theirs.
TABLES: Final = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (t INTEGER, part TEXT, value TEXT, PRIMARY KEY (t, part, value)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS source_row (
    t INTEGER, key TEXT, n INTEGER NOT NULL, slice TEXT NOT NULL, hash TEXT NOT NULL, reject TEXT,
    position BLOB NOT NULL, PRIMARY KEY (t, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS source_content (
    t INTEGER, key TEXT, property TEXT, mark TEXT, carriers INTEGER NOT NULL, score_0 REAL, score_1 REAL, score_2 REAL,
    PRIMARY KEY (t, key, property)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target_record (
    t INTEGER, key TEXT, record_id TEXT, slice TEXT NOT NULL, stored TEXT, computed TEXT NOT NULL, batch TEXT,
    odd TEXT, unknown TEXT, PRIMARY KEY (t, key, record_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target_content (
    t INTEGER, key TEXT, record_id TEXT, property TEXT, mark TEXT, carriers INTEGER NOT NULL, spoken TEXT, sent TEXT,
    PRIMARY KEY (t, key, record_id, property)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target_score (
    t INTEGER, key TEXT, record_id TEXT, property TEXT, score_0 REAL, score_1 REAL, score_2 REAL,
    PRIMARY KEY (t, key, record_id, property)
) WITHOUT ROWID;
"""

WIDTHS: Final = {"source_row": 7, "source_content": 8, "target_record": 9, "target_content": 8, "target_score": 7}
"""Table -> how many columns it has."""


@lru_cache(maxsize=len(WIDTHS) * 4)
def put(table: str, rows: int) -> str:
    """The statement that writes so many rows into one of the tables; one that is there already is replaced."""
    row = f"({', '.join('?' * WIDTHS[table])})"
    return f"INSERT OR REPLACE INTO {table} VALUES {', '.join([row] * rows)}"


INDEX_IDS: Final = "CREATE INDEX IF NOT EXISTS target_record_id ON target_record (t, record_id)"
LAST_NUMBER: Final = "SELECT coalesce(max(n), 0) FROM source_row WHERE t = :t"

SAMPLE: Final = """
SELECT key, position FROM source_row WHERE t = :t AND reject IS NULL ORDER BY hash, key LIMIT :count
"""

PREPARE: Final = """
CREATE TEMP TABLE changed (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE chosen (slice TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE suspect (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE main_record (
    key TEXT PRIMARY KEY, record_id TEXT, slice TEXT, stored TEXT, computed TEXT, batch TEXT, odd TEXT
) WITHOUT ROWID;
"""
CLEAR: Final = "DROP TABLE temp.changed; DROP TABLE temp.chosen; DROP TABLE temp.suspect; DROP TABLE temp.main_record;"

CHOOSE_EVERY_SLICE: Final = "INSERT INTO chosen SELECT slice FROM source_row UNION SELECT slice FROM target_record"

_KNOWN: Final = """
  LEFT JOIN state.ledger l ON l.table_name = :name AND l.key = s.key
  LEFT JOIN state.reject j ON j.table_name = :name AND j.key = s.key
"""
_SENT: Final = """
  LEFT JOIN state.vector v
    ON v.table_name = :name AND v.property = x.property AND v.key = x.key AND v.text_hash = x.mark
"""
_HERE: Final = "s.t = :t AND s.key IN (SELECT key FROM suspect) AND j.accepted_at IS NULL"

# Records that were written for another carrier of the embedding say nothing of this one's vectors.
_MARK_DIFFERS: Final = f"(c.mark IS NOT '{UNSAID}' AND x.mark IS NOT c.mark)"

_VECTOR_DIFFERS: Final = """CASE
       WHEN x.mark IS NULL THEN g.score_0 IS NOT NULL
       ELSE coalesce(max(abs(g.score_0 - coalesce(x.score_0, v.score_0)),
                         abs(g.score_1 - coalesce(x.score_1, v.score_1)),
                         abs(g.score_2 - coalesce(x.score_2, v.score_2))), 1) > :tolerance
       END"""

# Everything that any question below could find, in one walk along the key, since nearly every key is as it should be.
# More may be in it: of a key with two records one at least is not the one that the state knows.
_CHOOSE_ROWS: Final = f"""
INSERT OR IGNORE INTO suspect
SELECT s.key FROM source_row s
  LEFT JOIN source_content x ON x.t = :t AND x.key = s.key
  LEFT JOIN target_record r ON r.t = :t AND r.key = s.key
  LEFT JOIN target_content c
    ON c.t = :t AND c.key = s.key AND c.record_id = r.record_id AND c.property = x.property
  LEFT JOIN target_score g
    ON g.t = :t AND g.key = s.key AND g.record_id = r.record_id AND g.property = x.property
  {_KNOWN} {_SENT}
 WHERE s.t = :t AND s.slice IN (SELECT slice FROM chosen) AND (
       s.reject IS NOT NULL OR j.key IS NOT NULL OR r.stored IS NOT s.hash OR r.computed IS NOT s.hash
       OR r.odd IS NOT NULL OR r.slice IS NOT s.slice OR l.record_id IS NOT r.record_id OR l.batch IS NOT r.batch
       OR x.property IS NOT NULL AND (
           {_MARK_DIFFERS} OR c.carriers IS NOT x.carriers
           OR c.sent IS NOT NULL AND c.sent IS NOT x.mark OR :vectors AND {_VECTOR_DIFFERS}))
"""
_CHOOSE_EXTRA: Final = """
INSERT OR IGNORE INTO suspect
SELECT r.key FROM target_record r
 WHERE r.t = :t AND r.slice IN (SELECT slice FROM chosen)
   AND NOT EXISTS (SELECT 1 FROM source_row s WHERE s.t = :t AND s.key = r.key)
"""

# Of several records of one key the one that the state knows; the others are copies.
_CHOOSE_MAIN: Final = """
INSERT INTO main_record
SELECT key, record_id, slice, stored, computed, batch, odd FROM (
    SELECT r.*, row_number() OVER (
               PARTITION BY r.key ORDER BY coalesce(r.record_id = l.record_id, 0) DESC, r.record_id
           ) AS place
      FROM target_record r LEFT JOIN state.ledger l ON l.table_name = :name AND l.key = r.key
     WHERE r.t = :t AND r.key IN (SELECT key FROM suspect)
) WHERE place = 1
"""
CHOOSE: Final = (_CHOOSE_ROWS, _CHOOSE_EXTRA, _CHOOSE_MAIN)

# Whether what the state proved of a key is not what the row is now: only then does a sync write it.
_CONTENT_IS_NEWS: Final = """(l.key IS NULL OR EXISTS (
    SELECT 1 FROM source_content y LEFT JOIN state.vector w
        ON w.table_name = :name AND w.property = y.property AND w.key = y.key
     WHERE y.t = :t AND y.key = s.key AND y.mark IS NOT w.text_hash))"""
_ROW_IS_NEWS: Final = f"""(s.reject IS NULL AND (l.hash IS NOT s.hash OR {_CONTENT_IS_NEWS})
    OR s.reject IS NOT NULL AND j.key IS NULL)"""


def _behind(news: str) -> str:
    """Unsettled, or seen as changed and written by the next sync."""
    return (
        f"(:sees AND (coalesce(l.hash = '' AND j.key IS NULL, 0) OR (s.key IN (SELECT key FROM changed) AND {news})))"
    )


_MISSING: Final = f"""
SELECT s.key, {_behind(_ROW_IS_NEWS)}, coalesce(s.reject, j.code) FROM source_row s {_KNOWN}
 WHERE {_HERE} AND NOT EXISTS (SELECT 1 FROM target_record r WHERE r.t = :t AND r.key = s.key)
 ORDER BY s.n
"""

_EXTRA: Final = """
SELECT r.key, :sees AND EXISTS (SELECT 1 FROM state.ledger l WHERE l.table_name = :name AND l.key = r.key)
  FROM main_record r
 WHERE NOT EXISTS (SELECT 1 FROM source_row s WHERE s.t = :t AND s.key = r.key)
"""

_DOUBLED: Final = """
SELECT r.key, 0, count(*) FROM target_record r JOIN source_row s ON s.t = :t AND s.key = r.key
 WHERE r.t = :t AND r.key IN (SELECT key FROM suspect)
 GROUP BY r.key HAVING count(*) > 1
"""

_VALUES: Final = f"""
SELECT * FROM (
    SELECT s.key, {_behind(_ROW_IS_NEWS)} AS behind,
           coalesce(s.reject, j.code) AS refusal,
           s.reject IS NULL AND m.stored IS NOT s.hash AS stored_differs,
           s.reject IS NULL AND m.computed IS NOT s.hash AS computed_differs,
           CASE WHEN m.slice IS s.slice THEN m.odd ELSE coalesce(m.odd || ', ', '') || 'byovSlice' END AS odd,
           l.record_id IS NOT m.record_id AS id_differs,
           coalesce(l.hash <> '' AND l.batch IS NOT m.batch, 0) AS batch_differs,
           (SELECT group_concat(x.property, ', ')
              FROM source_content x LEFT JOIN target_content c
                ON c.t = :t AND c.key = m.key AND c.record_id = m.record_id AND c.property = x.property
             WHERE x.t = :t AND x.key = s.key AND s.reject IS NULL AND {_MARK_DIFFERS}) AS marks,
           (SELECT group_concat(x.property, ', ')
              FROM source_content x JOIN target_content c
                ON c.t = :t AND c.key = m.key AND c.record_id = m.record_id AND c.property = x.property
             WHERE x.t = :t AND x.key = s.key AND s.reject IS NULL AND c.sent IS NOT NULL AND x.mark IS NOT c.sent
           ) AS texts
      FROM source_row s JOIN main_record m ON m.key = s.key {_KNOWN}
     WHERE {_HERE}
) AS found
 WHERE found.refusal IS NOT NULL OR found.stored_differs OR found.computed_differs OR found.odd IS NOT NULL
    OR found.id_differs OR found.batch_differs OR found.marks IS NOT NULL OR found.texts IS NOT NULL
"""

_VECTORS: Final = f"""
SELECT s.key, {_behind(_CONTENT_IS_NEWS)}, x.property, x.mark IS NOT NULL, g.score_0 IS NOT NULL,
       coalesce(x.score_0, v.score_0) IS NOT NULL
  FROM source_row s JOIN main_record m ON m.key = s.key
  JOIN source_content x ON x.t = :t AND x.key = s.key
  LEFT JOIN target_score g
    ON g.t = :t AND g.key = m.key AND g.record_id = m.record_id AND g.property = x.property
  {_SENT} {_KNOWN}
 WHERE {_HERE} AND s.reject IS NULL AND j.key IS NULL AND {_VECTOR_DIFFERS}
"""

# Absence concerns all records of ours, copies and those without a row included, and is never a matter of time.
_UNKNOWN_NAMES: Final = """
SELECT r.key, 0, r.unknown FROM target_record r
 WHERE r.t = :t AND r.unknown IS NOT NULL AND r.slice IN (SELECT slice FROM chosen)
"""
_SPOKEN: Final = """
SELECT r.key, 0, c.spoken FROM target_content c
  JOIN target_record r ON r.t = :t AND r.key = c.key AND r.record_id = c.record_id
 WHERE c.t = :t AND c.spoken IS NOT NULL AND r.slice IN (SELECT slice FROM chosen)
"""
_CARRIERS: Final = f"""
SELECT s.key, {_behind(_CONTENT_IS_NEWS)}, x.property, x.carriers
  FROM source_row s JOIN main_record m ON m.key = s.key
  JOIN source_content x ON x.t = :t AND x.key = s.key
  JOIN target_content c ON c.t = :t AND c.key = m.key AND c.record_id = m.record_id AND c.property = x.property
  {_KNOWN}
 WHERE {_HERE} AND s.reject IS NULL AND j.key IS NULL AND c.carriers <> x.carriers
"""

EVIDENCE: Final = (
    "SELECT hash, reject FROM source_row WHERE t = :t AND key = :key",
    "SELECT property, mark FROM source_content WHERE t = :t AND key = :key ORDER BY property",
    "SELECT * FROM target_record WHERE t = :t AND key = :key ORDER BY record_id",
    """SELECT c.property, mark, carriers, spoken, round(score_0, 5), round(score_1, 5), round(score_2, 5)
         FROM target_content c LEFT JOIN target_score g
           ON g.t = c.t AND g.key = c.key AND g.record_id = c.record_id AND g.property = c.property
        WHERE c.t = :t AND c.key = :key
        ORDER BY c.record_id, c.property""",
)


def _tell_missing(reject: str | None) -> str:
    return f"rejected: {reject}" if reject else ""


def _tell_doubled(count: int) -> str:
    return f"{count} records"


def _tell_values(*found: Any) -> str:
    return ", ".join(_value_names(*found))


def _value_names(
    reject: str | None,
    stored: int,
    computed: int,
    odd: str | None,
    record_id: int,
    batch: int,
    marks: str | None,
    texts: str | None,
) -> Iterator[str]:
    if reject:
        yield f"rejected: {reject}"
    if computed:
        yield "columns"
    if stored:
        yield "byovHash"
    if odd:
        yield odd
    if record_id:
        yield "id of the record"
    if batch:
        yield "byovBatch"
    yield from (f"byovText_{name}" for name in (marks or "").split(", ") if name)
    if texts:
        yield texts


def _tell_vectors(property_name: str, wanted: int, stored: int, expected: int) -> str:
    if not wanted:
        return f"{property_name}: a vector without a text"
    if not stored:
        return f"{property_name}: no vector"
    return f"{property_name}: another vector" if expected else f"{property_name}: nothing is known of what was sent"


def _tell_unknown(names: str) -> str:
    return f"unknown: {names}"


def _tell_spoken(names: str) -> str:
    return f"withheld, not empty: {names}"


def _tell_carriers(property_name: str, wanted: int) -> str:
    return f"{property_name}: not there as it should be" if wanted else f"{property_name}: there without a text"


DIFFERENCES: Final[
    tuple[
        tuple[
            Literal["missing", "extra", "doubled", "values", "vectors", "links", "text"],
            str,
            Callable[..., str],
        ],
        ...,
    ]
] = (
    ("missing", _MISSING, _tell_missing),
    ("extra", _EXTRA, lambda: ""),
    ("doubled", _DOUBLED, _tell_doubled),
    ("values", _VALUES, _tell_values),
    ("vectors", _VECTORS, _tell_vectors),
    ("text", _UNKNOWN_NAMES, _tell_unknown),
    ("text", _SPOKEN, _tell_spoken),
    ("text", _CARRIERS, _tell_carriers),
)
