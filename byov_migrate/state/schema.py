"""The tables of the state, in SQLAlchemy Core so that a shared PostgreSQL can hold them later."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

FORMAT = 1

metadata = MetaData()

# Single facts: format, state_id, current_run.
meta = Table("meta", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

# The configuration and the two ends this state belongs to, a row a field.
scope = Table("scope", metadata, Column("field", String, primary_key=True), Column("value", JSON, nullable=False))

# A table's plan as a whole; the snapshot of the source taken before the first page is where `sync` begins.
plan = Table(
    "plan",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("snapshot", String, nullable=False),
    Column("planned_at", Float, nullable=False),
)

# The plan itself: stored key ranges. The first has no lower bound and the last no upper one.
key_range = Table(
    "range",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String, nullable=False, index=True),
    Column("lower", JSON(none_as_null=True)),
    Column("upper", JSON(none_as_null=True)),
    Column("position", JSON(none_as_null=True)),
    Column("done", Boolean, nullable=False, default=False),
    Column("owner", String),
    Column("lease_until", Float),
)

# Batches that were sent, or were about to be, and are not yet proved. `rows` is what the ledger will hold.
intent = Table(
    "intent",
    metadata,
    Column("batch", String, primary_key=True),
    Column("table_name", String, nullable=False, index=True),
    Column("run", String, nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("rows", LargeBinary, nullable=False),
)

# Every record that is proved to be stored.
ledger = Table(
    "ledger",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("record_id", String, nullable=False),
    Column("hash", String, nullable=False),  # empty: a write of it was begun and never proved
    Column("batch", String, nullable=False),
    sqlite_with_rowid=False,
)
Index("ledger_unsettled", ledger.c.table_name, ledger.c.key, sqlite_where=ledger.c.hash == "")

# Every vector that is proved to be attached, with its scores against the three probes.
vector = Table(
    "vector",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("property", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("text_hash", String, nullable=False),
    Column("score_0", Float, nullable=False),
    Column("score_1", Float, nullable=False),
    Column("score_2", Float, nullable=False),
    sqlite_with_rowid=False,
)

LOST = "lost:"
"""Before the hash of a text whose vector went with its index: the record still says that text."""
is_there = vector.c.text_hash.not_like(f"{LOST}%")

# Of the vectors of an adopted state those whose scores are RushDB's own word: they prove that nothing has changed since
# then, not that it was right. Until the vector is sent again.
adopted = Table(
    "adopted",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("property", String, primary_key=True),
    Column("key", String, primary_key=True),
    sqlite_with_rowid=False,
)

# Vectors kept on this machine, so that a record can be rewritten without embedding again; only with `vectors = true`.
vector_cache = Table(
    "vector_cache",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("property", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("text_hash", String, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# The links of the configuration. checksum, pairs: of the source's pairs when they were last read; called_at: since when
# a request about these links may be under way.
link = Table(
    "link",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("type", String, nullable=False),
    Column("source_table", String, nullable=False),
    Column("target_table", String, nullable=False),
    Column("carried", Boolean, nullable=False),  # by the rows themselves; else read as pairs
    Column("pairs", Integer),
    Column("checksum", String),
    Column("called_at", Float),
)

# Every link that the source implies, whether or not the record that it leads to is there. linked: proved in RushDB.
edge = Table(
    "edge",
    metadata,
    Column("link", Integer, primary_key=True),
    Column("source_key", String, primary_key=True),
    Column("target_key", String, primary_key=True),
    Column("mark", String, nullable=False),  # keyed hash of its properties
    Column("linked", Boolean, nullable=False),
    Column("seen", Integer, nullable=False),  # number of the last reading that told of it
    sqlite_with_rowid=False,
)
Index("edge_of_target", edge.c.link, edge.c.target_key)
Index("edge_loose", edge.c.link, edge.c.linked, edge.c.source_key)  # a partial one is not preferred to the key

# Which property carries an embedding's vectors, and what made them. A second one of the same embedding stands beside it
# from `reembed` to `reembed drop`. model, settings, text, vector: as configured; fingerprint: of the model, where one
# makes the vectors. live: what searches ask. complete: filled once. marked: the records' `byovText_P` speak of it.
carrier = Table(
    "carrier",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("property", String, primary_key=True),
    Column("embedding", String, nullable=False),
    Column("model", String),
    Column("settings", JSON(none_as_null=True)),
    Column("text", String),
    Column("vector", String),
    Column("fingerprint", String),
    Column("begun_at", Float, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("marked", Boolean, nullable=False),
    Column("leaving", Boolean, nullable=False, default=False),  # its index is being removed
)

# Where the next sync of a table begins, and what the last look for deletes found: the source's keys, counted and
# summed, while they were exactly the known ones.
sync = Table(
    "sync",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("cursor", JSON, nullable=False),
    Column("synced_at", Float),
    Column("swept_at", Float),
    Column("swept_rows", Integer),
    Column("swept_checksum", String),
)

# The last report of a command: what differed, by key. Never a value.
report = Table(
    "report",
    metadata,
    Column("command", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("content", JSON, nullable=False),
)

# Rows that were refused. Never a payload.
reject = Table(
    "reject",
    metadata,
    Column("table_name", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("position", JSON, nullable=False),
    Column("stage", String, nullable=False),
    Column("code", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("column", String),
    Column("setting", String),
    Column("attempts", Integer, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("accepted_at", Float),
    Column("accepted_by", String),
    Column("accepted_reason", String),
)

run = Table(
    "run",
    metadata,
    Column("id", String, primary_key=True),
    Column("command", String, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("progress_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("exit_code", Integer),
    Column("summary", JSON),
)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("action", String, nullable=False),
    Column("fields", JSON, nullable=False),
    Index("event_run", "run"),
)
