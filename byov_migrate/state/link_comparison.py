"""Links of both sides in the scratch file of a comparison, beside the records that they join.

implied   what the source's rows or pairs tell: keys of both ends
held      the keys that records of the source hold, by which RushDB joins
standing  the links that RushDB lists: ids of both ends
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

_TABLES = """
CREATE TABLE IF NOT EXISTS link_implied (l, source, target, mark, PRIMARY KEY (l, source, target)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS link_held (l, record_id, target, PRIMARY KEY (l, record_id, target)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS link_standing (l, source, target, mark, PRIMARY KEY (l, source, target)) WITHOUT ROWID;
"""
_SUSPECTS = """
SELECT i.source FROM link_implied i
  JOIN target_record s ON s.t = :s AND s.key = i.source
  JOIN target_record t ON t.t = :t AND t.key = i.target
  LEFT JOIN link_standing x ON x.l = i.l AND x.source = s.record_id AND x.target = t.record_id
 WHERE i.l = :l AND x.mark IS NOT i.mark
UNION
SELECT s.key FROM link_standing x
  JOIN target_record s ON s.t = :s AND s.record_id = x.source
  LEFT JOIN target_record t ON t.t = :t AND t.record_id = x.target
  LEFT JOIN link_implied i ON i.l = x.l AND i.source = s.key AND i.target = t.key
 WHERE x.l = :l AND i.source IS NULL
"""
_HELD = """
UNION
SELECT s.key FROM link_held h
  JOIN target_record s ON s.t = :s AND s.record_id = h.record_id
  LEFT JOIN link_implied i ON i.l = h.l AND i.source = s.key AND i.target = h.target
 WHERE h.l = :l AND i.source IS NULL
UNION
SELECT i.source FROM link_implied i
  JOIN target_record s ON s.t = :s AND s.key = i.source
  LEFT JOIN link_held h ON h.l = i.l AND h.record_id = s.record_id AND h.target = i.target
 WHERE i.l = :l AND h.target IS NULL
"""


class LinkComparison:
    """One link. number: its own; source, target: the numbers of the tables at its ends."""

    def __init__(
        self, connection: sqlite3.Connection, number: int, source: int, target: int, *, is_carried: bool
    ) -> None:
        connection.executescript(_TABLES)
        self._connection = connection
        self._bound = {"l": number, "s": source, "t": target}
        self._is_carried = is_carried

    def add_implied(self, links: Iterable[tuple[str, str, str]]) -> None:
        """Source key, target key, mark of the properties."""
        self._add("INSERT OR REPLACE INTO link_implied VALUES (?, ?, ?, ?)", links)

    def add_held(self, held: Iterable[tuple[str, str]]) -> None:
        """Record id, and a key that it holds."""
        self._add("INSERT OR REPLACE INTO link_held VALUES (?, ?, ?)", held)

    def add_standing(self, links: Iterable[tuple[str, str, str]]) -> None:
        """Source id, target id, mark of the properties."""
        self._add("INSERT OR REPLACE INTO link_standing VALUES (?, ?, ?, ?)", links)

    def _add(self, statement: str, rows: Iterable[tuple[str, ...]]) -> None:
        number = self._bound["l"]
        self._connection.executemany(statement, ((number, *row) for row in rows))

    def forget_lists(self) -> None:
        """Drop what is read in one go and not from where it was left: pairs, unless rows carry them, and links."""
        tables = ["link_standing"] if self._is_carried else ["link_standing", "link_implied"]
        for table in tables:
            self._connection.execute(f"DELETE FROM {table} WHERE l = :l", self._bound)  # noqa: S608  fixed names

    def count(self) -> int:
        """Links that the source implies."""
        return int(
            self._connection.execute("SELECT count(*) FROM link_implied WHERE l = :l", self._bound).fetchone()[0]
        )

    def suspects(self) -> Iterator[str]:
        """Keys of the source whose links or held keys are not as implied; links to no record are no difference."""
        query = _SUSPECTS + (_HELD if self._is_carried else "")
        for row in self._connection.execute(query, self._bound):
            yield row[0]
