"""Searches by meaning on postings that were really moved: filters across links, embeddings, rows, columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from byov_migrate import QueryEncoder
from byov_migrate.errors import ConfigurationError, CredentialsRefused, Refused
from byov_migrate.filters import parse_filter
from byov_migrate.jobs.search import print_call, search
from byov_migrate.jobs.surroundings import Surroundings
from tests.postgres import PASSWORD
from tests.search_rig import OTHER, ROWS, SEEN, SMALL, SearchRig
from tests.sync_rig import rigged

TEXT = "work in the team c"
OTHER_MODEL = ('model = "small"', 'model = "other"')


def filtered(searched: SearchRig, *filters: str) -> set[str]:
    """Keys of all that is found with these filters."""
    return set(searched.keys(TEXT, where=[parse_filter(text) for text in filters], limit=1000))


@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        (["location ~ berl"], "location = 'Berlin'"),
        (["location = Köln"], "location = 'Köln'"),
        (["salaryMin>=30000"], "salary_min >= 30000"),
        (["salary_min < 5000"], "salary_min < 5000"),
        (["salaryMin > 5000", "salaryMin <= 9000"], "salary_min > 5000 AND salary_min <= 9000"),
        (["location in (Bonn, Köln)"], "location IN ('Bonn', 'Köln')"),
        (["agency_id is null"], "agency_id IS NULL"),
        (["byovKey = 12"], "false"),  # a key is text, and a bare number is none
        (['byovKey = "12"'], "id = 12"),
        (["Company.name = Acme"], "company = 'Acme'"),
        ([r'Company.name = "O\'Neill & \"Sons\""'.replace(r"\'", "'")], "company LIKE 'O%'"),
        (["Company.company = Zet"], "company = 'Zet'"),  # the node's column, by its property
        (["Agency.name = North"], "agency_id = 1"),
        (["Agency.head_count > 10"], "agency_id = 2"),
        (["Agency.headCount > 10"], "agency_id = 2"),
        (["Agency.head_count > 10", "Agency.name = North"], "false"),
        (["Agency.name = North", "Company.name = Acme", "salaryMin > 9000"],
         "agency_id = 1 AND company = 'Acme' AND salary_min > 9000"),
    ],
)  # fmt: skip
def test_filters_find_what_sql_finds(searched: SearchRig, filters: list[str], condition: str) -> None:
    """Columns and properties, of the label itself and across links, by whichever of their names."""
    expected = searched.rows(condition)
    assert expected or condition == "false"
    assert filtered(searched, *filters) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("salery_min > 1", ["'salery_min'", "salaryMin", "there are"]),
        ("secret = x", ["'secret'", "keep_properties"]),
        ("Agency.size > 1", ["'size'", "of Agency", "headCount, id, name"]),
        ("Company.city = x", ["'city'", "of Company", "name"]),
        ("Firm.name = x", ["label 'Firm'", "Agency, Company, Job"]),
        ("Company.Agency.size = x", ["'size'", "of Agency"]),
        ("description ~ nurse", ["Job.description is empty", "stays here"]),
    ],
)
def test_a_name_that_nothing_has_is_an_error_that_names_those_there_are(
    searched: SearchRig, text: str, words: list[str]
) -> None:
    """RushDB would find nothing, and say nothing of it."""
    with pytest.raises(ConfigurationError) as caught:
        filtered(searched, text)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_every_embedding_of_a_record_is_searched_with_its_own_model(searched: SearchRig) -> None:
    """Three of three models and dimensions hang on one record."""
    found = {name: searched.search(TEXT, embedding=name, limit=5) for name in ("description", "titleOnly", "picture")}
    assert {name: result.property_name for name, result in found.items()} == {name: name for name in found}
    assert {len(result.hits) for result in found.values()} == {5}
    assert len({tuple(hit.key for hit in result.hits) for result in found.values()}) == 3
    for name, dimension in (("description", SMALL), ("titleOnly", OTHER)):
        encoder = QueryEncoder(searched.config(), embedding=name)
        assert encoder.dimension == dimension
        body = {"labels": ["Job"], "propertyName": name, "queryVector": encoder.encode(TEXT).tolist()}
        where = {"byovKey": {"$exists": True}}
        hits = searched.post("/ai/search", {**body, "sourceType": "external", "where": where, "limit": 5})["data"]
        assert [hit["byovKey"] for hit in hits] == searched.keys(TEXT, embedding=name, exact=True, limit=5)
    with pytest.raises(ConfigurationError, match=r"Job\.description, Job\.titleOnly, Job\.picture"):
        searched.search(TEXT, embedding="nothing")
    with pytest.raises(ConfigurationError, match="nothing of Agency is embedded"):
        searched.search(TEXT, table="Agency")


def test_the_query_prompt_is_used_and_the_document_prompt_for_rows(searched: SearchRig) -> None:
    """A row's own text finds the row first when it is embedded as documents are, at a score of 1."""
    prompted = searched.search(TEXT, exact=True).hits
    bare = search(searched.config(('query_prompt = "query: "', "")), TEXT, exact=True, surroundings=searched.around())
    assert [hit.score for hit in prompted] != [hit.score for hit in bare.hits]
    row = searched.search("x", where=[parse_filter("id = 12")]).hits[0]
    as_document = [('query_prompt = "query: "', 'query_prompt = "team: "')]
    found = search(searched.config(*as_document), row.text, exact=True, surroundings=searched.around()).hits[0]
    assert found.key == "12"
    assert found.score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("embedding", ["description", "picture"])
def test_rows_like_a_row_are_found_without_it(searched: SearchRig, embedding: str) -> None:
    """By its text embedded again, or by its ready vector; the same order as by its stored vector."""
    found = searched.search(like="12", embedding=embedding, limit=ROWS)
    assert "12" not in [hit.key for hit in found.hits]
    assert found.exact
    assert len(found.hits) == ROWS - 2  # itself, and the one without a text or a picture
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    some = searched.keys(like="12", embedding=embedding, limit=3, where=[parse_filter("location = Bonn")])
    assert some == [hit.key for hit in found.hits if hit.properties["location"] == "Bonn"][:3]
    assert searched.keys(like="12", embedding=embedding, limit=3, skip=2) == [hit.key for hit in found.hits][2:5]


def test_rows_like_a_row_by_its_text_come_in_the_order_of_its_stored_vector(searched: SearchRig) -> None:
    """The text is embedded as it was when it was stored: with the document prompt, not the query's."""
    [row] = searched.search("x", where=[parse_filter("id = 12")]).hits
    assert row.text
    encoder = QueryEncoder(searched.config(('query_prompt = "query: "', 'query_prompt = "team: "')))
    body = {"labels": ["Job"], "propertyName": "description", "sourceType": "external", "limit": ROWS}
    asked = {**body, "queryVector": encoder.encode(row.text).tolist(), "where": {"byovKey": {"$exists": True}}}
    first, *others = searched.post("/ai/search", asked)["data"]
    found = searched.search(like="12", limit=ROWS).hits
    assert first["byovKey"] == "12"
    assert [hit.key for hit in found] == [hit["byovKey"] for hit in others]
    assert [hit.score for hit in found] == pytest.approx([hit["__score"] for hit in others], abs=1e-6)


def test_rows_like_a_row_by_its_ready_vector_come_in_the_order_of_the_source(searched: SearchRig) -> None:
    """What PostgreSQL's vectors say, computed here."""
    with psycopg.connect(searched.dsn) as connection:
        row = connection.execute("SELECT picture FROM job WHERE id = 12").fetchone()
    assert row is not None
    expected = [key for key in searched.nearest_pictures(row[0]) if key != "12"]
    assert searched.keys(like="12", embedding="picture", limit=10) == expected[:10]


@pytest.mark.parametrize(
    ("key", "embedding", "words"),
    [
        ("12000", "description", "no row"),
        ("twelve", "description", "no key"),
        ("9", "description", "no text"),
        ("7", "picture", "no vector"),
    ],
)
def test_a_row_that_gives_no_vector_is_said(searched: SearchRig, key: str, embedding: str, words: str) -> None:
    """Before anything is asked of RushDB."""
    with pytest.raises(ConfigurationError, match=f"--like: .*{words}"):
        searched.search(like=key, embedding=embedding)


@pytest.mark.parametrize("asked", [{}, {"text": TEXT, "like": "12"}])
def test_a_search_is_for_a_text_or_for_a_row(searched: SearchRig, asked: dict[str, str]) -> None:
    """Neither and both are questions that nobody asked."""
    with pytest.raises(ConfigurationError, match="either TEXT or --like KEY"):
        searched.search(**asked)


def test_columns_of_postgresql_are_shown_beside_the_hits_that_have_a_row(searched: SearchRig) -> None:
    """Any column, also one that is not sent, as PostgreSQL writes it; NULL is no text."""
    found = searched.search(TEXT, where=[parse_filter("id in (8, 12)")], show=["secret", "updated_at", "agency_id"])
    shown = {hit.key: dict(hit.shown) for hit in found.hits}
    written = {"secret": "for the owner alone", "updated_at": "2026-01-31 10:00:00+00"}
    assert shown == {"12": {**written, "agency_id": "1"}, "8": {**written, "agency_id": None}}
    assert "for the owner" not in json.dumps([dict(hit.properties) for hit in found.hits])


def test_a_column_to_show_has_to_exist(searched: SearchRig) -> None:
    """Said before anything is asked."""
    with pytest.raises(
        ConfigurationError, match=r"""--show: public\.job has no column 'secrt'; did you mean "secret"""
    ):
        searched.search(TEXT, show=["secrt"])


def test_a_column_to_show_has_to_be_readable(searched: SearchRig) -> None:
    """The role may read what the migration uses, and nothing else; the GRANT that is missing is named."""
    columns = "id, title, company, location, salary_min, agency_id, description, picture"
    with psycopg.connect(searched.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE peeking LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
        admin.execute(f"GRANT SELECT ({columns}) ON job TO peeking")
        admin.execute("GRANT SELECT ON agency TO peeking")
        try:
            environment = {**searched.environment, "DATABASE_URL": make_conninfo(searched.dsn, user="peeking")}
            if "password" in searched.dsn:
                environment["DATABASE_URL"] = make_conninfo(searched.dsn, user="peeking", password=PASSWORD)
            around = Surroundings(environment=environment)
            shown = search(searched.config(), TEXT, show=["title"], surroundings=around)
            assert all(set(hit.shown) == {"title"} for hit in shown.hits)
            with pytest.raises(CredentialsRefused, match="column secret") as caught:
                search(searched.config(), TEXT, show=["secret"], surroundings=around)
            assert caught.value.next_step == "GRANT SELECT ON public.job TO peeking"
        finally:
            admin.execute("DROP OWNED BY peeking")
            admin.execute("DROP ROLE peeking")


@pytest.mark.parametrize(
    ("options", "way", "reason", "candidates"),
    [
        ({"limit": 5}, "index", "no filter", ROWS - 1),
        ({"exact": True}, "exact", "--exact", ROWS - 1),
        ({"limit": 500}, "exact", "the index gave 39 of 500", ROWS - 1),
        ({"where": [parse_filter("location = Bonn")]}, "exact", "--where", 14),
        ({"text": None, "like": "12"}, "exact", "--like", ROWS - 2),
    ],
)
def test_an_explanation_tells_how_the_hits_came_about(
    searched: SearchRig, options: dict[str, Any], way: str, reason: str, candidates: int
) -> None:
    """Which way, why, among how many, and where the time went; records without a vector are no candidates."""
    told = searched.search(**{"text": TEXT, "explain": True, **options}).explanation
    assert told is not None
    assert (told.way, told.reason, told.candidates, told.dimension) == (way, reason, candidates, SMALL)
    seconds = told.seconds
    assert min(seconds.loading, seconds.embedding, seconds.asking, seconds.reading) > 0
    assert searched.search(TEXT).explanation is None


@pytest.mark.parametrize("asked", [{"text": TEXT}, {"text": None, "like": "12"}], ids=["text", "like"])
@pytest.mark.parametrize(
    "change",
    [OTHER_MODEL, ('document_prompt = "team: "', 'document_prompt = "other: "')],
    ids=["another model", "another document prompt"],
)
def test_a_model_that_did_not_make_the_vectors_is_refused_on_every_path(
    searched: SearchRig, change: tuple[str, str], asked: dict[str, Any]
) -> None:
    """A search, a request that is only printed, and the encoder: its vectors would rank by chance."""
    config, around = searched.config(change), searched.around()
    with pytest.raises(Refused, match=r"is not the one that made the stored vectors of Job\.description"):
        search(config, **asked, surroundings=around)
    with pytest.raises(Refused, match="is not the one"):
        print_call(config, "python", **asked, surroundings=around)
    with pytest.raises(Refused, match="is not the one"):
        QueryEncoder(config)


def test_a_model_of_another_size_than_the_ready_vectors_is_refused(searched: SearchRig) -> None:
    """All that can be told of vectors that somebody else made; a request that is only printed needs it as well."""
    change = ('vector = "picture"\nmodel = "seen"', 'vector = "picture"\nmodel = "other"')
    config, around = searched.config(change), searched.around()
    for job in (search, lambda *a, **o: print_call(a[0], "curl", a[1], **o)):
        with pytest.raises(Refused, match=f"have {SEEN} dimensions and the query's has {OTHER}"):
            job(config, TEXT, embedding="picture", surroundings=around)


def test_an_embedding_that_was_never_stored_has_no_model_that_fits(searched: SearchRig) -> None:
    """The configuration is ahead of the state."""
    change = ('property = "titleOnly"', 'property = "headline"')
    config, around = searched.config(change), searched.around()
    for attempt in (
        lambda: search(config, TEXT, embedding="headline", surroundings=around),
        lambda: print_call(config, "curl", TEXT, embedding="headline", surroundings=around),
        lambda: QueryEncoder(config, embedding="headline"),
    ):
        with pytest.raises(Refused, match=r"knows no vectors of Job\.headline"):
            attempt()


def test_without_a_state_the_encoder_works_and_a_search_does_not(searched: SearchRig) -> None:
    """An application's machine has the configuration and the model; nothing is made there."""
    config = searched.config(("[models.small]", '[state]\nurl = "sqlite:///elsewhere.db"\n[models.small]'))
    assert QueryEncoder(config).encode(TEXT).shape == (SMALL,)
    for attempt in (
        lambda: search(config, TEXT, surroundings=searched.around()),
        lambda: print_call(config, "curl", TEXT, surroundings=searched.around()),
    ):
        with pytest.raises(Refused, match="there is no state"):
            attempt()
    assert not config.state_path.exists()


def test_ready_vectors_and_hashed_keys_need_neither_a_model_nor_the_hash(database: str, tmp_path: Path) -> None:
    """A row is named by its plain key; its record is left out by the hash, which leads no column back to a row."""
    with rigged(tmp_path, database) as rig:
        rig.make_table(12)
        rig.table = {"columns": ["title"], "hash_key_values": True}
        rig.backfill()
        found = search(rig.config(), like="3", limit=20, surroundings=rig.around())
        titles = {hit.properties["title"] for hit in found.hits}
        assert titles == {f"posting {number}" for number in range(1, 13) if number != 3}
        assert {len(hit.key) for hit in found.hits} == {32}
        with pytest.raises(ConfigurationError, match=r"--show: the keys of public\.job are sent as hashes"):
            search(rig.config(), like="3", show=["title"], surroundings=rig.around())
        with pytest.raises(ConfigurationError, match='add model = "NAME"'):
            search(rig.config(), TEXT, surroundings=rig.around())
