"""The catalogue against the configuration: every mistake at once, and what the role may not do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from byov_migrate.errors import ConfigurationError, CredentialsRefused, PersonNeeded
from byov_migrate.source import Session, snapshot, source_identity
from tests.postgres import password_of, session_to, table_reader


@pytest.fixture
def db(any_database: str) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, on each server that this machine has."""
    with psycopg.connect(any_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader_session(any_database: str, db: psycopg.Connection[Any]) -> Iterator[Session]:
    """A session of a role that owns nothing and was granted nothing."""
    db.execute("DROP ROLE IF EXISTS reader")
    db.execute(f"CREATE ROLE reader LOGIN PASSWORD '{password_of(any_database)}'")
    with session_to(make_conninfo(any_database, user="reader")) as opened:
        yield opened
    db.execute("DROP OWNED BY reader")
    db.execute("DROP ROLE reader")


def test_all_mistakes_are_told_at_once_with_their_key_paths(db: psycopg.Connection[Any], session: Session) -> None:
    """One mistake a run is one deploy a mistake."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text, description text, v text)")
    with pytest.raises(ConfigurationError) as caught:
        table_reader(
            session,
            "job",
            ["id", "titel", "title"],
            types={"title": "number"},
            where=["statuss = x"],
            embeddings=[
                {"property": "p", "text": "{descripton}", "model": "m"},
                {"property": "q", "vector": "v"},
            ],
        )
    message = str(caught.value)
    assert message.startswith("5 mistakes about job")
    assert """tables[0].columns[1]: job has no column 'titel'; did you mean "title"?""" in message
    assert """tables[0].embeddings[0].text: job has no column 'descripton'; did you mean "description"?""" in message
    assert "tables[0].embeddings[1].vector: column v is text" in message
    assert "tables[0].where[0]: job has no column 'statuss'" in message
    assert "tables[0].types.title: the column is text, not a number" in message


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        ("id = abc", "is no integer"),
        ("place < 1", "place cannot be compared so"),
        ("id = 99999999999", "is no integer"),
    ],
)
def test_a_filter_that_postgresql_cannot_compare_is_a_mistake(
    filter_: str, told: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Found before the first page, without the value in the message."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, place json)")
    with pytest.raises(ConfigurationError, match=told) as caught:
        table_reader(session, "job", where=[filter_])
    assert "99999999999" not in str(caught.value)


@pytest.mark.parametrize(
    ("definition", "key", "expected"),
    [
        ("id int, a int, PRIMARY KEY (a, id)", None, ["a", "id"]),
        ("id int NOT NULL UNIQUE, a int PRIMARY KEY", ["id"], ["id"]),
        ("id int NOT NULL UNIQUE, a int UNIQUE", None, ["id"]),
        ("id int NOT NULL, a int NOT NULL, UNIQUE (id, a)", ["a", "id"], ["a", "id"]),
        ("a float8 PRIMARY KEY, id int NOT NULL UNIQUE", None, ["id"]),
        ("id int, a int, PRIMARY KEY (id) INCLUDE (a)", None, ["id"]),
    ],
)
def test_the_key_is_what_an_index_keeps_unique(
    definition: str, key: list[str] | None, expected: list[str], db: psycopg.Connection[Any], session: Session
) -> None:
    """Named, else the primary key, else the narrowest unique index whose columns are NOT NULL and comparable."""
    db.execute(f"CREATE TABLE job ({definition})")
    assert [column.name for column in table_reader(session, "job", key=key).shape.key] == expected


@pytest.mark.parametrize(
    ("definition", "key", "told"),
    [
        ("id int", None, "neither a primary key nor a unique index"),
        ("id int UNIQUE", None, "id may be NULL"),
        ("id int UNIQUE", ["id"], "id may be NULL"),
        ("id int PRIMARY KEY, a int NOT NULL", ["a"], "no unique index over exactly"),
        ("id int PRIMARY KEY, a int NOT NULL", ["idd"], "did you mean"),
        ("id float8 PRIMARY KEY", None, "double precision, which can be no key"),
    ],
)
def test_a_key_that_would_lose_rows_is_refused(
    definition: str, key: list[str] | None, told: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """Ties, NULLs and floats are how keyset pages lose rows."""
    db.execute(f"CREATE TABLE job ({definition})")
    with pytest.raises(ConfigurationError, match=told):
        table_reader(session, "job", key=key)


def test_a_partial_unique_index_is_no_key(db: psycopg.Connection[Any], session: Session) -> None:
    """It keeps some rows apart, and the others not."""
    db.execute("CREATE TABLE job (id int NOT NULL)")
    db.execute("CREATE UNIQUE INDEX ON job (id) WHERE id > 5")
    db.execute("CREATE UNIQUE INDEX ON job ((id + 1))")
    with pytest.raises(ConfigurationError, match="neither a primary key"):
        table_reader(session, "job")


def test_a_view_needs_its_key_named(db: psycopg.Connection[Any], session: Session) -> None:
    """Nothing in the catalogue says what is unique in it."""
    db.execute("CREATE VIEW job AS SELECT 1 AS id")
    db.execute("CREATE MATERIALIZED VIEW jobs AS SELECT 1 AS id")
    with pytest.raises(ConfigurationError, match=r"tables\[0\].key"):
        table_reader(session, "job")
    assert table_reader(session, "jobs", key=["id"]).count() == 1


def test_names_are_found_as_people_write_them(db: psycopg.Connection[Any], session: Session) -> None:
    """Literally, quoted, folded, without schema; an unknown one is answered with the nearest."""
    db.execute('CREATE SCHEMA "Other"; CREATE TABLE "Other"."Job" (id int PRIMARY KEY)')
    db.execute("CREATE TABLE job (id int PRIMARY KEY); CREATE TABLE posting (id int PRIMARY KEY)")
    for text, expected in {
        "PUBLIC.JOB": "public.job",
        "job": "public.job",
        "Job": "Other.Job",
        "Other.Job": "Other.Job",
        '"Other"."Job"': "Other.Job",
    }.items():
        assert str(table_reader(session, text).shape) == expected
    with pytest.raises(ConfigurationError, match=r'tables\[0\].name.*did you mean "public.posting"'):
        table_reader(session, "public.postings")
    with pytest.raises(ConfigurationError, match="63 bytes"):
        table_reader(session, "x" * 64)


def test_one_name_in_two_schemas_is_a_question(db: psycopg.Connection[Any], session: Session) -> None:
    """Guessing would migrate the wrong table."""
    db.execute("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.job (id int PRIMARY KEY)")
    db.execute("CREATE TABLE b.job (id int PRIMARY KEY)")
    with pytest.raises(ConfigurationError, match=r"a\.job, b\.job|b\.job, a\.job"):
        table_reader(session, "job")


def test_a_missing_privilege_is_told_with_its_grant(db: psycopg.Connection[Any], reader_session: Session) -> None:
    """The next step can be pasted; a column's own grant is enough."""
    db.execute('CREATE SCHEMA s; CREATE TABLE s."Job" (id int PRIMARY KEY, secret text)')
    with pytest.raises(CredentialsRefused) as caught:
        table_reader(reader_session, "s.Job")
    assert caught.value.next_step == 'GRANT SELECT ON s."Job" TO reader; GRANT USAGE ON SCHEMA s TO reader'
    db.execute('GRANT SELECT (id) ON s."Job" TO reader; GRANT USAGE ON SCHEMA s TO reader')
    assert table_reader(reader_session, "s.Job").count() == 0
    with pytest.raises(CredentialsRefused, match="column secret"):
        table_reader(reader_session, "s.Job", ["secret"])


def test_row_level_security_is_refused_where_it_hides_rows(
    db: psycopg.Connection[Any], session: Session, reader_session: Session
) -> None:
    """A hidden row looks deleted, and a sync would delete it; the superuser sees all."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY); ALTER TABLE job ENABLE ROW LEVEL SECURITY")
    db.execute("GRANT SELECT ON job TO reader")
    with pytest.raises(PersonNeeded) as caught:
        table_reader(reader_session, "job")
    assert "ALTER ROLE reader BYPASSRLS" in str(caught.value.next_step)
    assert table_reader(session, "job").count() == 0


def test_the_key_stays_at_home_when_it_is_hashed(db: psycopg.Connection[Any], session: Session) -> None:
    """Only the catalogue knows a primary key that the configuration does not name."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text)")
    with pytest.raises(ConfigurationError, match=r"tables\[0\].columns\[1\]: id is a key column"):
        table_reader(session, "job", ["title", "id"], hash_key_values=True)


def test_partitions_are_read_and_counted_as_one(db: psycopg.Connection[Any], session: Session) -> None:
    """The parent holds no row of its own, and its statistics may count them twice."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE job1 PARTITION OF job FOR VALUES FROM (0) TO (10)")
    db.execute("CREATE TABLE job2 PARTITION OF job FOR VALUES FROM (10) TO (99)")
    db.execute("INSERT INTO job SELECT generate_series(0, 19); ANALYZE job")
    reader = table_reader(session, "job")
    assert reader.plan_ranges().rows == reader.shape.estimated_rows == 20


def test_the_signatures_survive_a_new_table_of_the_same_shape(db: psycopg.Connection[Any], session: Session) -> None:
    """After a dump and restore all oids differ and nothing has changed."""
    db.execute("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE job (id int PRIMARY KEY, m mood, v varchar(9))")
    before = table_reader(session, "job", ["m", "v"]).shape
    db.execute("DROP TABLE job; DROP TYPE mood")
    db.execute("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE job (id int PRIMARY KEY, m mood, v varchar(9))")
    after = table_reader(session, "job", ["v", "m"]).shape
    assert before.oid != after.oid
    assert before.signatures == after.signatures
    assert after.signatures["v"] == "character varying(9)"


def test_the_identity_is_the_clusters_own(
    db: psycopg.Connection[Any], session: Session, reader_session: Session
) -> None:
    """A plain role may read it; where it may not, None stands for it instead of an error."""
    identity = source_identity(session)
    row = db.execute("SELECT system_identifier::text, current_database() FROM pg_control_system()").fetchone()
    assert (identity.system_identifier, identity.database) == row
    assert (identity.timeline, identity.in_recovery) == (1, False)
    assert source_identity(reader_session) == identity
    db.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    assert source_identity(reader_session).system_identifier is None
    assert source_identity(reader_session).timeline == 1


def test_the_snapshot_is_a_state_of_the_database(db: psycopg.Connection[Any], session: Session) -> None:
    """A sync starts from it, so it must be readable as one, and asking must use up no transaction id."""
    assert db.execute("SELECT pg_snapshot_xmax(%s::pg_snapshot) >= '0'", (snapshot(session),)).fetchone() == (True,)
    assert snapshot(session) == snapshot(session)
