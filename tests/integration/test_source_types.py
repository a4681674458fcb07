"""Every type of the catalogue is read losslessly, or its row is refused; no type is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from byov_migrate.records import Rejected, Row
from byov_migrate.source import Session
from tests.postgres import read_all, session_to, table_reader

REFUSED: Final = object()
UUID: Final = "0b8a2c2e-0000-4000-8000-000000000001"
SAMPLES: Final[dict[str, tuple[str, Any]]] = {
    # type: (literal, what leaves)
    "bool": ("true", True),
    "int2": ("-7", -7),
    "int4": ("2147483647", 2147483647),
    "int8": ("9007199254740992", 9007199254740992),
    "oid": ("4294967295", 4294967295),
    "float4": ("0.1", 0.1),
    "float8": ("2.5e-300", 2.5e-300),
    "numeric": ("12.50", 12.5),
    "text": (" Köln 🙂 ", " Köln 🙂 "),
    "varchar": ("x", "x"),
    "bpchar": ("ab  ", "ab"),
    "char": ("x", "x"),
    "name": ("x", "x"),
    "uuid": (UUID, UUID),
    "json": ('{"$id": 1, "a": "\\u0000", "a": 2}', '{"$id": 1, "a": "\\u0000", "a": 2}'),
    "jsonb": ('{"$id":  1}', '{"$id": 1}'),
    "bytea": ("\\x00ff", "\\x00ff"),
    "date": ("2024-02-29", "2024-02-29"),
    "time": ("24:00:00", "24:00:00"),
    "timetz": ("10:00:00.5+02", "10:00:00.5+02"),
    "timestamp": ("2024-02-29 10:00:00.000001", "2024-02-29T10:00:00.000001"),
    "timestamptz": ("2024-02-29 10:00:00+05:30", "2024-02-29T04:30:00.000000+00:00"),
    "interval": ("1 year 2 mons -3 days 04:05:06.7", "1 year 2 mons -3 days +04:05:06.7"),
    "inet": ("10.0.0.1/8", "10.0.0.1/8"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/8"),
    "int4range": ("[1,5]", "[1,6)"),
    "int8range": ("empty", "empty"),
    "numrange": ("(1.5,)", "(1.5,)"),
    "tsrange": ("[2024-01-01,)", '["2024-01-01 00:00:00",)'),
    "tstzrange": ("[2024-01-01 00:00+01,)", '["2023-12-31 23:00:00+00",)'),
    "daterange": ("[2024-01-01,2024-01-02]", "[2024-01-01,2024-01-03)"),
    "int4multirange": ("{[1,2],[5,6]}", "{[1,3),[5,7)}"),
    "int8multirange": ("{}", "{}"),
    "nummultirange": ("{(1.5,)}", "{(1.5,)}"),
    "tsmultirange": ("{[2024-01-01,)}", '{["2024-01-01 00:00:00",)}'),
    "tstzmultirange": ("{[2024-01-01 00:00+00,)}", '{["2024-01-01 00:00:00+00",)}'),
    "datemultirange": ("{[2024-01-01,2024-01-03)}", "{[2024-01-01,2024-01-03)}"),
    "citext": ("MiXed", "MiXed"),
    "mood": ('it\'s "fine"', 'it\'s "fine"'),
    "floatrange": ("[1,2)", "[1,2)"),
    "floatmultirange": ("{[1,2)}", "{[1,2)}"),
    "cardinal_number": ("5", 5),
    "character_data": ("x", "x"),
    "sql_identifier": ("x", "x"),
    "time_stamp": ("2024-01-01 00:00:00+00", "2024-01-01T00:00:00.000000+00:00"),
    "yes_or_no": ("YES", "YES"),
    "positive": ("5", 5),
    "positives": ("{5,6}", [5, 6]),
    # refused unless `types` says how
    "money": ("$1,234.50", REFUSED),
    "xml": ("<a/>", REFUSED),
    "bit": ("1", REFUSED),
    "varbit": ("101", REFUSED),
    "macaddr": ("08:00:2b:01:02:03", REFUSED),
    "macaddr8": ("08:00:2b:01:02:03:04:05", REFUSED),
    "point": ("(1,2)", REFUSED),
    "lseg": ("[(1,2),(3,4)]", REFUSED),
    "path": ("[(1,2),(3,4)]", REFUSED),
    "box": ("(3,4),(1,2)", REFUSED),
    "polygon": ("((1,2),(3,4))", REFUSED),
    "line": ("{1,2,3}", REFUSED),
    "circle": ("<(1,2),3>", REFUSED),
    "tsvector": ("a:1 b:2", REFUSED),
    "tsquery": ("a & b", REFUSED),
    "jsonpath": ("$.a", REFUSED),
    "pg_lsn": ("16/B374D848", REFUSED),
    "tid": ("(0,1)", REFUSED),
    "xid": ("5", REFUSED),
    "xid8": ("5", REFUSED),
    "cid": ("5", REFUSED),
    "int2vector": ("1 2", REFUSED),
    "oidvector": ("1 2", REFUSED),
    "refcursor": ("x", REFUSED),
    "txid_snapshot": ("10:20:10", REFUSED),
    "pg_snapshot": ("10:20:10", REFUSED),
    "aclitem": ("postgres=r/postgres", REFUSED),
    "regclass": ("pg_class", REFUSED),
    "regcollation": ('"C"', REFUSED),
    "regconfig": ("simple", REFUSED),
    "regdatabase": ("postgres", REFUSED),
    "regdictionary": ("simple", REFUSED),
    "regnamespace": ("pg_catalog", REFUSED),
    "regoper": ("||/", REFUSED),
    "regoperator": ("+(integer,integer)", REFUSED),
    "regproc": ("now", REFUSED),
    "regprocedure": ("now()", REFUSED),
    "regrole": ("postgres", REFUSED),
    "regtype": ("integer", REFUSED),
    "hstore": ("a=>1", REFUSED),
    "ghstore": ("", REFUSED),
    "vector": ("[1,2]", REFUSED),
    "halfvec": ("[1,2]", REFUSED),
    "sparsevec": ("{1:1}/2", REFUSED),
    "pair": ("(1,x)", REFUSED),
}
# The server keeps these for itself: no literal of theirs can be stored.
NO_LITERAL: Final = {
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ddl_command",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "gtsvector",
    "ghstore",
}
OBJECTS: Final = """
CREATE TYPE mood AS ENUM ('it''s "fine"', 'bad');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE floatrange AS RANGE (subtype = float8);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN positives AS positive[];
"""
TYPES: Final = """
SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('b', 'd', 'e', 'r', 'm', 'c')
   AND NOT EXISTS (SELECT 1 FROM pg_type e WHERE e.typarray = t.oid)
   AND (t.typrelid = 0 OR (SELECT relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
 ORDER BY 1, 2
"""


@pytest.fixture
def typed(any_database: str) -> Iterator[tuple[psycopg.Connection[Any], Session]]:
    """A database with types of every kind, on each server that this machine has."""
    with (
        psycopg.connect(any_database, autocommit=True, prepare_threshold=None) as db,
        session_to(any_database) as session,
    ):
        for extension in ("citext", "hstore", "vector"):
            if db.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", (extension,)).fetchone():
                db.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        db.execute(OBJECTS)
        yield db, session


def store(db: psycopg.Connection[Any], type_: sql.Composable, values: list[Any]) -> None:
    """A table `sample` with one row a value, NULL as the last."""
    db.execute("DROP TABLE IF EXISTS sample")
    db.execute(sql.SQL("CREATE TABLE sample (id int PRIMARY KEY, c {})").format(type_))
    for number, value in enumerate([*values, None]):
        db.execute(sql.SQL("INSERT INTO sample VALUES (%s, %s::{})").format(type_), (number, value))


def check(session: Session, expected: Any, text: str) -> str | None:
    """What is wrong with how `sample` is read; None when nothing is."""
    row, null = read_all(table_reader(session, "sample", ["c"]))
    if not isinstance(null, Row) or "c" in null.properties:
        return "NULL is not absent"
    if expected is REFUSED:
        if not isinstance(row, Rejected) or (row.column, row.setting) != ("c", 'types = { c = "text" }'):
            return f"not refused: {row}"
        row = read_all(table_reader(session, "sample", ["c"], types={"c": "text"}))[0]
        return None if isinstance(row, Row) and row.properties["c"] == text else f"text is not PostgreSQL's: {row}"
    if not isinstance(row, Row) or row.properties["c"] != expected:
        return f"not {expected!r}: {row}"
    return None


def test_every_type_of_the_catalogue_is_converted_or_refused(typed: tuple[psycopg.Connection[Any], Session]) -> None:
    """A type that PostgreSQL adds, and nobody thought of, fails here and not in a customer's table."""
    db, session = typed
    problems = {}
    for schema, name in db.execute(TYPES).fetchall():
        if name in NO_LITERAL:
            continue
        if name not in SAMPLES:
            problems[name] = "no sample: add one, or say that it has no literal"
            continue
        literal, expected = SAMPLES[name]
        type_ = sql.Identifier(schema, name)
        try:
            store(db, type_, [literal])
        except psycopg.errors.FeatureNotSupported:  # xml, in a server built without it
            continue
        text = db.execute("SELECT c::text FROM sample WHERE id = 0").fetchone()
        assert text is not None
        if problem := check(session, expected, text[0]):
            problems[name] = problem
    assert problems == {}


def test_every_array_is_its_elements_or_refused(typed: tuple[psycopg.Connection[Any], Session]) -> None:
    """Elements have another path through the driver than scalars: `t` for true, quotes, other delimiters."""
    db, session = typed
    problems = {}
    for schema, name in db.execute(TYPES).fetchall():
        literal, expected = SAMPLES.get(name, ("", None))
        if name in NO_LITERAL | {"xml", "positives", "vector", "halfvec", "sparsevec"} or name not in SAMPLES:
            continue
        type_ = sql.SQL("{}[]").format(sql.Identifier(schema, name))
        db.execute("DROP TABLE IF EXISTS sample")
        db.execute(sql.SQL("CREATE TABLE sample (id int PRIMARY KEY, c {})").format(type_))
        cast = sql.SQL("%s::{}").format(sql.Identifier(schema, name))
        db.execute(sql.SQL("INSERT INTO sample SELECT 0, ARRAY[{}, {}]").format(cast, cast), (literal, literal))
        (row,) = read_all(table_reader(session, "sample", ["c"]))
        refused = isinstance(row, Rejected)
        if refused != (expected is REFUSED) or (isinstance(row, Row) and row.properties["c"] != [expected] * 2):
            problems[name] = str(row)
    assert problems == {}


@pytest.mark.parametrize(
    ("type_", "literals", "code"),
    [
        ("date", ["infinity", "-infinity"], "infinity"),
        ("date", ["0044-03-15 BC"], "before-christ"),
        ("date", ["5874897-12-31"], "year-range"),
        ("timestamptz", ["infinity"], "infinity"),
        ("timestamptz", ["4713-01-01 00:00:00+00 BC"], "before-christ"),
        ("timestamp", ["294276-12-31 23:59:59.999999"], "year-range"),
        ("float8", ["NaN", "Infinity", "-Infinity"], "not-finite"),
        ("float4", ["NaN"], "not-finite"),
        ("numeric", ["NaN"], "not-finite"),
        ("numeric", ["0.1234567890123456789"], "precision"),
        ("numeric", ["1" + "0" * 1000], "number-range"),
        ("int8", ["9007199254740993", "-9223372036854775808"], "integer-range"),
        ("int4[]", ["{1,NULL}"], "array-null"),
        ("int4[]", ["{{1,2},{3,4}}"], "array-nested"),
        ("date[]", ["{infinity}"], "infinity"),
        ("pair[]", ['{"(1,x)"}'], "type"),
    ],
)
def test_a_value_that_python_or_rushdb_cannot_hold_costs_its_row_alone(
    typed: tuple[psycopg.Connection[Any], Session], type_: str, literals: list[str], code: str
) -> None:
    """Fetched as the driver's own types these would end the whole page."""
    db, session = typed
    store(db, sql.SQL(type_), literals)
    *rows, null = read_all(table_reader(session, "sample", ["c"]))
    assert [row.code for row in rows if isinstance(row, Rejected)] == [code] * len(literals)
    assert isinstance(null, Row)
    kept = read_all(table_reader(session, "sample", ["c"], types={"c": "text"}))
    assert all(isinstance(row, Row) for row in kept)


def test_a_posting_without_a_description_arrives_without_a_vector(
    typed: tuple[psycopg.Connection[Any], Session],
) -> None:
    """NULL and blank are no text; a NULL column is no property; `empty_text = reject` refuses them by name."""
    db, session = typed
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text, body text)")
    db.execute("INSERT INTO job VALUES (1, 't', 'b'), (2, NULL, 'b'), (3, NULL, NULL), (4, ' ', E'\\n')")
    embedding = {"property": "body", "text": "{title}\n{body}", "model": "m"}
    rows = read_all(table_reader(session, "job", ["title"], embeddings=[embedding]))
    assert [row.contents for row in rows if isinstance(row, Row)] == [("t\nb",), ("b",), (None,), (None,)]
    assert [row.properties for row in rows if isinstance(row, Row)] == [{"title": "t"}, {}, {}, {"title": " "}]
    refused = read_all(table_reader(session, "job", ["title"], embeddings=[{**embedding, "empty_text": "reject"}]))
    assert [row.key for row in refused if isinstance(row, Rejected)] == ["3", "4"]
