"""Tables of the sandbox's SQLite file."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS project (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL
);

-- body is the record exactly as it is answered, so that a search splices it into the reply unread
CREATE TABLE IF NOT EXISTS record (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    body TEXT NOT NULL,
    hidden INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS record_of_label ON record (project, label, id);
CREATE INDEX IF NOT EXISTS record_of_project ON record (project, id);

-- equality on the properties a migration asks for by the hundred
CREATE TABLE IF NOT EXISTS lookup (
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (project, name, value, record)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lookup_of_record ON lookup (record);

-- kept by every write, so that index statistics do not read a label
CREATE TABLE IF NOT EXISTS property_count (
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    type TEXT NOT NULL,
    records INTEGER NOT NULL,
    PRIMARY KEY (project, name, label, type)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS edge (
    project INTEGER NOT NULL,
    source INTEGER NOT NULL,
    type TEXT NOT NULL,
    target INTEGER NOT NULL,
    PRIMARY KEY (source, type, target)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edge_of_target ON edge (target, type, source);
CREATE INDEX IF NOT EXISTS edge_of_type ON edge (project, type);

-- of the few links that have properties
CREATE TABLE IF NOT EXISTS edge_property (
    source INTEGER NOT NULL,
    type TEXT NOT NULL,
    target INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (source, type, target)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS edge_is_gone AFTER DELETE ON edge BEGIN
    DELETE FROM edge_property WHERE source = old.source AND type = old.type AND target = old.target;
END;

CREATE TABLE IF NOT EXISTS vector_index (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project INTEGER NOT NULL,
    label TEXT NOT NULL,
    property TEXT NOT NULL,
    similarity TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    status TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    UNIQUE (project, label, property, similarity, dimensions)
);

-- data: float32, little-endian
CREATE TABLE IF NOT EXISTS vector (
    record INTEGER NOT NULL,
    space INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (record, space)
);
CREATE INDEX IF NOT EXISTS vector_of_space ON vector (space);

-- what an operator makes in Neo4j: for all projects at once
CREATE TABLE IF NOT EXISTS uniqueness (
    label TEXT NOT NULL,
    property TEXT NOT NULL,
    PRIMARY KEY (label, property)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unique_value (
    label TEXT NOT NULL,
    property TEXT NOT NULL,
    value TEXT NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (label, property, value)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unique_value_of_record ON unique_value (record);
"""

# Without statistics SQLite expects ten records a label, and reads a whole label rather than the look-up table.
PLANNER_HINTS = """
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 VALUES
    ('record', 'record_of_label', '1000000 1000000 1000000 1'),
    ('record', 'record_of_project', '1000000 1000000 1'),
    ('lookup', 'lookup', '3000000 3000000 1000000 100 1');
ANALYZE sqlite_schema;
"""
