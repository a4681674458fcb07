"""Pages and ranges against a real server: nothing lost, nothing repeated, whatever the key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.records import KeyRange, Page, Position, Row
from byov_migrate.source import Session, TableReader
from tests.postgres import fresh_database, read_all, session_to, table_reader

FAR_AWAY: Final = (
    "CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN '0044-03-15 00:00:00+00 BC'"
    " ELSE to_timestamp(n) END"
)
KEYS: Final[dict[str, tuple[str, str]]] = {
    # name: (columns, a row's key from the number n)
    "int": ("k int", "n - 50"),
    "bigint": ("k bigint", "9223372036854775807 - n"),
    "uuid": ("k uuid", "md5(n::text)::uuid"),
    "text in the database's collation": ("k text", "chr(32 + n) || n"),
    "text in C": ('k text COLLATE "C"', "repeat(chr(228 + n), 3)"),
    "text with nothing in it": ("k text", "repeat(' ', n)"),
    "char(n)": ("k char(9)", "n::text"),
    "varchar": ("k varchar(9)", "'Ä' || n"),
    "timestamptz": ("k timestamptz", "'2024-01-01 00:00:00.000001+00'::timestamptz + n * interval '1 microsecond'"),
    "timestamptz and infinity": ("k timestamptz", FAR_AWAY),
    "timestamp": ("k timestamp", "'2024-01-01'::timestamp + n * interval '1 day'"),
    "date": ("k date", "'2024-01-01'::date + n"),
    "numeric": ("k numeric", "n / 7.0 - 5"),
    "boolean": ("k boolean, l int", "n % 2 = 0, n"),
    "bytea": ("k bytea", "decode(md5(n::text), 'hex')"),
    "enum": ("k mood, l int", "(ARRAY['z', 'a'])[n % 2 + 1]::mood, n"),
    "domain": ("k code", "'c' || n"),
    "composite": ("k int, l text, m uuid", "n % 3, chr(97 + n % 5), md5(n::text)::uuid"),
}  # fmt: skip
ROWS: Final = 97


def position_of(page: Page) -> Position:
    """Where a page of a range reaches; pages of ranges always say."""
    assert page.position is not None
    return page.position


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, who fills tables."""
    with psycopg.connect(database, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('z', 'a')")
        connection.execute("CREATE DOMAIN code AS text CHECK (value <> '')")
        yield connection


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session of the source room."""
    with session_to(database) as opened:
        yield opened


def fill(db: psycopg.Connection[Any], columns: str, key: str, rows: int = ROWS) -> str:
    """A table `job` with that key, and a column `id` that numbers its rows; returns the key's column names."""
    names = ", ".join(part.split()[0] for part in columns.split(", "))
    db.execute(sql.SQL(f"CREATE TABLE job ({columns}, id int NOT NULL, PRIMARY KEY ({names}))"))
    db.execute(sql.SQL(f"INSERT INTO job SELECT {key}, n FROM generate_series(0, {rows - 1}) AS n"))
    return names


def ids(rows: list[Any]) -> list[object]:
    """The numbers of rows, all of which must have been readable."""
    assert all(isinstance(row, Row) for row in rows)
    return [row.properties["id"] for row in rows]


@pytest.mark.parametrize("kind", KEYS)
def test_every_row_comes_once_and_in_the_databases_order(
    kind: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Row comparison, cast and ORDER BY must mean the same order for each type of key."""
    names = fill(db, *KEYS[kind])
    reader = table_reader(session, "public.job")
    expected = [row[0] for row in db.execute(sql.SQL(f"SELECT id FROM job ORDER BY {names}")).fetchall()]
    for rows_per_range, page_rows in ((10, 3), (97, 97), (1000, 1), (1, 7)):
        assert ids(read_all(reader, rows_per_range, page_rows)) == expected


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_in_a_record_leads_back_to_its_row(kind: str, db: psycopg.Connection[Any], session: Session) -> None:
    """A search hit holds nothing but `byovKey`; no two rows share one."""
    fill(db, *KEYS[kind])
    reader = table_reader(session, "public.job")
    rows = read_all(reader)
    assert len({row.key for row in rows}) == ROWS
    for row in rows[:20]:
        position = reader.position_of(row.key)
        assert position is not None
        assert [found.key for found in reader.rows([position])] == [row.key]


@pytest.mark.parametrize(
    "name",
    ["My Table", 'with "quotes"', "100%", "%s", "{}", "select", "Größe", "x" * 63, "a.b", "'; drop table job; --"],
)
def test_an_awkward_name_is_only_a_name(name: str, db: psycopg.Connection[Any], session: Session) -> None:
    """Of tables and of columns, in the key, in a filter, in an embedding and among the properties."""
    table, column = sql.Identifier(name), sql.Identifier(name[:62] + "c")
    db.execute(sql.SQL("CREATE TABLE {} ({} int PRIMARY KEY, id int)").format(table, column))
    db.execute(sql.SQL("INSERT INTO {} SELECT n, n FROM generate_series(1, 20) AS n").format(table))
    quoted = 'public."' + name.replace('"', '""') + '"'
    where = '"' + (name[:62] + "c").replace('"', '""') + '" > 5'
    embedding = {"property": "p", "text": "{id}", "model": "m"}
    reader = table_reader(session, quoted, ["id", name[:62] + "c"], where=[where], embeddings=[embedding])
    rows = read_all(reader)
    assert ids(rows) == list(range(6, 21))
    assert len(reader.rows([row.position for row in rows])) == 15
    if "." not in name and '"' not in name:
        assert table_reader(session, f"public.{name}").shape.relation == name


def test_another_batch_size_after_a_restart_loses_and_repeats_nothing(
    db: psycopg.Connection[Any], session: Session
) -> None:
    """The plan is stored, and a position is a key, not a page number."""
    fill(db, *KEYS["composite"])
    reader = table_reader(session, "public.job")
    seen: list[object] = []
    for number, (lower, upper) in enumerate(reader.plan_ranges(20).ranges):
        position, done, page_rows = None, False, 1
        while not done:
            page = next(reader.pages(KeyRange(number, lower, upper, position), page_rows))
            seen += ids(list(page.rows))
            reached = position_of(page)
            position, done, page_rows = reached.upto, reached.done, page_rows + 2
    assert sorted(map(str, seen)) == sorted(map(str, range(ROWS)))


def test_the_plan_is_open_at_both_ends(db: psycopg.Connection[Any], session: Session) -> None:
    """Rows that arrive before the first or after the last planned key belong to somebody."""
    fill(db, *KEYS["int"])
    reader = table_reader(session, "public.job")
    plan = reader.plan_ranges(10)
    assert plan.rows == ROWS
    assert (plan.ranges[0][0], plan.ranges[-1][1]) == (None, None)
    db.execute("INSERT INTO job VALUES (-1000, -1), (1000, 1000)")
    seen = []
    for number, (lower, upper) in enumerate(plan.ranges):
        for page in reader.pages(KeyRange(number, lower, upper), 4):
            seen += ids(list(page.rows))
    assert (seen[0], seen[-1], len(seen)) == (-1, 1000, ROWS + 2)


@pytest.mark.parametrize(("rows", "ranges"), [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_ranges_are_as_long_as_asked(rows: int, ranges: int, db: psycopg.Connection[Any], session: Session) -> None:
    """An off by one shows at the multiples: a last range that is always empty, or twice as long."""
    fill(db, *KEYS["int"], rows)
    plan = table_reader(session, "public.job").plan_ranges(10)
    assert (plan.rows, len(plan.ranges)) == (rows, ranges)


def test_a_page_that_is_full_is_followed_by_one_that_says_done(db: psycopg.Connection[Any], session: Session) -> None:
    """A full page proves nothing about what comes after it."""
    fill(db, *KEYS["int"], 4)
    reader = table_reader(session, "public.job")
    pages = list(reader.pages(KeyRange(1, None, None), 2))
    assert [(len(page.rows), position_of(page).done) for page in pages] == [(2, False), (2, False), (0, True)]
    assert position_of(pages[-1]).upto == position_of(pages[1]).upto == ("-47",)


def test_rows_written_meanwhile_never_disturb_the_others(database: str, db: psycopg.Connection[Any]) -> None:
    """OFFSET loses rows when an earlier one is deleted; keys do not."""
    fill(db, "k int", "n * 2", 3000)
    stop = threading.Event()

    def disturb() -> None:
        with psycopg.connect(database, autocommit=True) as writer:
            number = 0
            while not stop.is_set():
                number += 2
                writer.execute("INSERT INTO job VALUES (%s, -1) ON CONFLICT DO NOTHING", (number % 6000 + 1,))
                writer.execute("DELETE FROM job WHERE k = %s", ((number * 7) % 6000 + 1,))

    writer = threading.Thread(target=disturb)
    writer.start()
    try:
        with session_to(database) as session:
            seen = [number for number in ids(read_all(table_reader(session, "job"), 500, 7)) if number != -1]
    finally:
        stop.set()
        writer.join()
    assert seen == list(range(3000))


FILTERS: Final = [
    ("status = published", "status = 'published'"),
    ("status != published", "status <> 'published'"),
    ("status ~ PUB", "status ILIKE '%pub%'"),
    ("note ~ 50%", "position('50%' in note) > 0"),
    ("note ~ a_b", "position('a_b' in note) > 0"),
    (r'note ~ "a\\b"', r"position('a\b' in note) > 0"),
    ("status in (draft, published)", "status IN ('draft', 'published')"),
    ("note is null", "note IS NULL"),
    ("note is not null", "note IS NOT NULL"),
    ("pay >= 2.5", "pay >= 2.5"),
    ("pay < 2.555", "pay < 2.555"),  # not rounded to the column's two digits
    ("at > 2024-01-05", "at > '2024-01-05 00:00:00+00'"),
    ("open = yes", "open"),
]


@pytest.mark.parametrize(("text", "condition"), FILTERS)
def test_a_filter_selects_what_it_says(
    text: str, condition: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Operators, wild cards taken literally, and values in the column's own type."""
    db.execute(
        "CREATE TABLE job (id int PRIMARY KEY, status text, note text, pay numeric(9,2), at timestamptz, open bool)"
    )
    db.execute(
        r"INSERT INTO job SELECT n, (ARRAY['draft', 'published', NULL])[n % 3 + 1],"
        r" (ARRAY['50% off', '500', 'a_b', 'axb', 'a\b', NULL])[n % 6 + 1], n / 4.0 + 0.05,"
        r" '2024-01-01 00:00:00+00'::timestamptz + n * interval '1 day', n % 2 = 0 FROM generate_series(0, 11) AS n"
    )
    reader = table_reader(session, "job", where=[text])
    query = sql.SQL(f"SELECT id FROM job WHERE {condition} ORDER BY id")
    expected = [row[0] for row in db.execute(query).fetchall()]
    assert 0 < len(expected) < 12
    assert ids(read_all(reader)) == expected
    assert reader.count() == len(expected) == reader.plan_ranges().rows


def test_rows_marked_as_deleted_are_no_rows(db: psycopg.Connection[Any], session: Session) -> None:
    """`deleted_when` must hide them from plan, pages and look-ups alike; a NULL in it hides nothing."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, gone bool)")
    db.execute("INSERT INTO job VALUES (1, true), (2, false), (3, NULL)")
    reader = table_reader(session, "job", deleted_when="gone = true")
    assert ids(read_all(reader)) == [2, 3]
    assert ids(reader.rows([("1",), ("2",)])) == [2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE job ALTER title TYPE varchar(40)", "job.title is now character varying(40), was text"),
        ("ALTER TABLE job RENAME title TO name", "job.title is gone"),
        ("ALTER TABLE job DROP title", "job.title is gone"),
        ("ALTER TABLE job ALTER title SET NOT NULL", "job.title is now text not null"),
        ("ALTER TABLE job RENAME TO posting", "was dropped, renamed or made anew"),
        ("DROP TABLE job; CREATE TABLE job (id int PRIMARY KEY, title text)", "was dropped, renamed or made anew"),
    ],
)
def test_a_change_of_a_column_in_use_stops_before_the_next_page(
    change: str, told: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Half a table under one type and half under another would be two migrations in one label."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text)")
    db.execute("INSERT INTO job SELECT n, 't' FROM generate_series(1, 9) AS n")
    reader = table_reader(session, "job", ["id", "title"])
    pages = reader.pages(KeyRange(1, None, None), 3)
    next(pages)
    db.execute(sql.SQL(change))
    with pytest.raises(Refused) as caught:
        next(pages)
    assert told in str(caught.value)


def test_a_change_of_a_column_not_in_use_changes_nothing(db: psycopg.Connection[Any], session: Session) -> None:
    """The signatures cover what is read, so that unrelated work on the table stops nobody."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text)")
    db.execute("INSERT INTO job SELECT n, 't' FROM generate_series(1, 9) AS n")
    reader = table_reader(session, "job")
    before = reader.shape.signatures
    pages = reader.pages(KeyRange(1, None, None), 3)
    next(pages)
    db.execute("ALTER TABLE job ADD extra int, DROP title")
    assert len(list(pages)) == 3
    assert table_reader(session, "job").shape.signatures == before


def view_over(db: psycopg.Connection[Any], session: Session, values: str) -> TableReader:
    """A reader of a view whose key is `k`."""
    db.execute(sql.SQL(f"CREATE VIEW job AS SELECT * FROM (VALUES {values}) AS v (k, id)"))
    return table_reader(session, "job", key=["k"])


def test_a_views_key_is_proved_while_planning(db: psycopg.Connection[Any], session: Session) -> None:
    """No index guards it, and a key that two rows share would lose one of them at a page's end."""
    assert ids(read_all(view_over(db, session, "(1, 1), (2, 2)"))) == [1, 2]


@pytest.mark.parametrize(("values", "told"), [("(1, 1), (1, 2)", "not unique"), ("(1, 1), (NULL, 2)", "NULL in 1")])
def test_a_views_key_that_is_none_is_refused(
    values: str, told: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Row comparison with NULL is never true, so such rows would silently stay away."""
    with pytest.raises(ConfigurationError, match=told):
        view_over(db, session, values).plan_ranges()


def test_tables_that_inherit_are_proved_too(db: psycopg.Connection[Any], session: Session) -> None:
    """The parent's primary key says nothing about its heirs' rows, which a SELECT from it returns."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY); CREATE TABLE heir () INHERITS (job)")
    db.execute("INSERT INTO job VALUES (1); INSERT INTO heir VALUES (2)")
    reader = table_reader(session, "job")
    assert ids(read_all(reader)) == [1, 2]
    db.execute("INSERT INTO heir VALUES (1)")
    with pytest.raises(ConfigurationError, match="not unique"):
        reader.plan_ranges()


def test_a_word_that_is_none_of_the_enums_is_an_absent_row(db: psycopg.Connection[Any], session: Session) -> None:
    """The key of a foreign record must not end the look-up of all the others."""
    db.execute("CREATE TABLE job (id mood PRIMARY KEY); INSERT INTO job VALUES ('a')")
    reader = table_reader(session, "job")
    assert [row.key for row in reader.rows([("a",), ("canary",)])] == ["a"]


@pytest.mark.parametrize("deterministic", ["true", "false"])
def test_text_in_an_icu_collation_is_read_in_its_order(deterministic: str, system_postgres: str) -> None:
    """Its order is nobody's but the server's: Ä between A and B, and case only at the end or not at all."""
    with (
        fresh_database(system_postgres) as dsn,
        psycopg.connect(dsn, autocommit=True) as db,
        session_to(dsn) as session,
    ):
        options = f"provider = icu, locale = 'de-u-ks-level2', deterministic = {deterministic}"
        db.execute(sql.SQL(f"CREATE COLLATION german ({options})"))
        db.execute("CREATE TABLE job (k text COLLATE german PRIMARY KEY, id int)")
        db.execute("INSERT INTO job SELECT chr(64 + n % 60) || 'äÄbB-' || n, n FROM generate_series(0, 96) AS n")
        expected = [row[0] for row in db.execute("SELECT id FROM job ORDER BY k").fetchall()]
        assert ids(read_all(table_reader(session, "job"), 10, 3)) == expected
        assert table_reader(session, "job", where=["k ~ ÄÄBB-7"]).count() == 11


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6), max_size=30),
    rows_per_range=st.integers(1, 9),
    page_rows=st.integers(1, 9),
)
def test_any_text_is_a_key(
    keys: set[str], rows_per_range: int, page_rows: int, db: psycopg.Connection[Any], session: Session
) -> None:
    """Parameters pass quotes, backslashes, percent signs and any script unchanged, boundaries included."""
    db.execute("DROP TABLE IF EXISTS job")
    db.execute("CREATE TABLE job (id text PRIMARY KEY)")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO job VALUES (%s)", [(key,) for key in keys])
    reader = table_reader(session, "job")
    seen = ids(read_all(reader, rows_per_range, page_rows))
    assert len(seen) == len(keys)
    assert set(seen) == keys
    assert set(ids(reader.rows([(key,) for key in keys]))) == keys


def test_hashed_keys_leave_no_trace_of_the_key(db: psycopg.Connection[Any], session: Session) -> None:
    """`hash_key_values`: the row's own key is its HMAC, while reading goes on by the real one."""
    db.execute("CREATE TABLE job (mail text PRIMARY KEY, id int)")
    db.execute("INSERT INTO job VALUES ('canary', 1)")
    reader = table_reader(session, "job", hash_key_values=True)
    (row,) = read_all(reader)
    assert len(row.key) == 32
    assert "canary" not in row.key
    assert row.position == ("canary",)
    assert reader.position_of(row.key) is None


def test_local_texts_are_found_by_key_and_name(db: psycopg.Connection[Any], session: Session) -> None:
    """A search shows local text beside each hit, also where vectors were ready."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, body text, v real[])")
    db.execute("INSERT INTO job VALUES (1, 'one', '{1,0}'), (2, NULL, '{0,1}')")
    embeddings = [{"property": "p", "vector": "v", "text": "{body}"}]
    reader = table_reader(session, "job", embeddings=embeddings)
    assert reader.texts([("1",), ("2",), ("3",)]) == {"1": ("one",), "2": (None,)}
    assert reader.rows([]) == []
