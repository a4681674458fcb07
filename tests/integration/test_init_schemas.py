"""Schemas that `init` was not made for: what it prints is taken unedited, but for the model's path."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from byov_migrate import backfill, load_config, plan, sandbox
from byov_migrate.jobs.check import check
from byov_migrate.jobs.init import InitResult, init
from byov_migrate.jobs.surroundings import Surroundings
from tests.models import make_tiny_model

SCHEMAS = Path(__file__).parents[1] / "schemas"
KEY = "key-of-a-test"
PERSONAL = (
    "@example.org",
    "+49",
    "192.0.2.1",
    "Market Street",
    "Harbour Road",
    "1970-01-01",
    "hunted-for",
    "First1",
    "Last1",
)


@dataclass(frozen=True)
class Start:
    """A database, a RushDB, a folder: all that a newcomer has."""

    folder: Path
    dsn: str
    url: str
    key: str = KEY

    @property
    def environment(self) -> dict[str, str]:
        """What the configuration reads."""
        return {"DATABASE_URL": self.dsn, "RUSHDB_URL": self.url, "RUSHDB_API_KEY": self.key}

    @property
    def around(self) -> Surroundings:
        """Surroundings with it."""
        return Surroundings(environment=self.environment)

    def fill(self, schema: str) -> None:
        """Make the tables and rows of a file in tests/schemas."""
        self.execute((SCHEMAS / f"{schema}.sql").read_text(encoding="utf-8"))

    def execute(self, statements: str) -> None:
        """Change the database."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statements)

    def init(self, *tables: str) -> InitResult:
        """Propose, and keep the text as a file with the model's path set."""
        result = init(tables=tables, surroundings=self.around)
        edited = result.text.replace('"models/EDIT-ME"', '"tiny"')
        (self.folder / "new.toml").write_text(edited, encoding="utf-8")
        return result

    def count(self, query: str) -> int:
        """What SQL counts."""
        with psycopg.connect(self.dsn) as connection:
            [(number,)] = connection.execute(query.encode()).fetchall()
        return int(number)

    def links(self) -> dict[tuple[str, str, str], int]:
        """Source label, type and target label of every link that RushDB holds, and how many there are."""
        found: Counter[tuple[str, str, str]] = Counter()
        headers = {"authorization": f"Bearer {self.key}"}
        total = 1
        with httpx.Client(trust_env=False, timeout=60, base_url=self.url, headers=headers) as client:
            while found.total() < total:
                body = {"where": {}, "limit": 1000, "skip": found.total()}
                answer = client.post("/api/v1/relationships/search", json=body).json()
                total = answer["total"]
                found.update((row["sourceLabel"], row["type"], row["targetLabel"]) for row in answer["data"])
        return dict(found)

    def empty(self) -> None:
        """Remove everything from RushDB."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=60, base_url=f"{self.url}/api/v1", headers=headers) as client:
            for index in client.get("/ai/indexes").json()["data"]:
                client.delete(f"/ai/indexes/{index['id']}").raise_for_status()
            while found := client.post("/records/search", json={"where": {}, "limit": 1000}).json()["data"]:
                ids = {"where": {"$id": {"$in": [record["__id"] for record in found]}}}
                client.post("/records/delete", json=ids).raise_for_status()

    def stored(self) -> str:
        """Everything that RushDB holds, as text."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=60) as client:
            body = {"where": {}, "limit": 1000}
            return client.post(f"{self.url}/api/v1/records/search", json=body, headers=headers).text


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Start]:
    """An empty database and an empty RushDB: a sandbox, or a real one's second project, which tests may empty."""
    make_tiny_model(tmp_path / "tiny")
    url, key = (os.environ.get(f"BYOV_TEST_RUSHDB_{name}") for name in ("URL", "OTHER_KEY"))
    if url and key:
        made = Start(tmp_path, database, url.rstrip("/").removesuffix("/api/v1"), key)
        made.empty()
        yield made
        made.empty()
        return
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        yield Start(tmp_path, database, target.url)


STORED = {
    "rental": {"Film": (120, 120), "Rating": (5, 0)},
    "music": {"Track": (300, 300)},
    "clinic": {"WorkOrder": (114, 114), "Passage": (60, 120), "Note": (45, 45), "BackOfficeNote": (40, 40)},
}
"""Label -> rows and vectors. Rows that count as deleted are not among them."""


@pytest.mark.parametrize("schema", STORED)
def test_what_init_prints_is_taken_by_check_plan_and_backfill(start: Start, schema: str) -> None:
    """Nothing is edited but the model's path, and no row is rejected."""
    start.fill(schema)
    start.init()
    config = load_config(start.folder / "new.toml", start.environment)
    checked = check(config, surroundings=start.around)
    assert [item for item in checked.findings if item.verdict == "fail"] == []
    planned = {table.label: table.rows for table in plan(config, surroundings=start.around).tables}
    assert planned == {label: rows for label, (rows, _) in STORED[schema].items()}
    result = backfill(config, surroundings=start.around)
    assert {table.label: (table.rows_stored, table.vectors_stored) for table in result.tables} == STORED[schema]
    assert [table.rejects for table in result.tables] == [0] * len(result.tables)
    again = check(config, surroundings=start.around)
    assert [item for item in again.findings if item.verdict == "fail"] == []


LINKED = {
    "rental": (
        ("film", "public.language", "actor", "category"),
        {
            ("Film", "LANGUAGE", "Language"): "SELECT count(*) FROM film",
            ("Film", "ORIGINAL_LANGUAGE", "Language"): "SELECT count(original_language_id) FROM film",
            ("Film", "RATING", "Rating"): "SELECT count(rating) FROM film",
            ("Actor", "FILM", "Film"): "SELECT count(*) FROM film_actor",
            ("Film", "CATEGORY", "Category"): "SELECT count(*) FROM film_category",
        },
    ),
    "music": (
        ("Track", "Album", "Artist", "Genre", "MediaType", "Playlist", "Invoice"),
        {
            ("Album", "ARTIST", "Artist"): 'SELECT count("ArtistId") FROM "Album"',
            ("Track", "ALBUM", "Album"): 'SELECT count("AlbumId") FROM "Track"',
            ("Track", "GENRE", "Genre"): 'SELECT count("GenreId") FROM "Track"',
            ("Track", "MEDIA_TYPE", "MediaType"): 'SELECT count("MediaTypeId") FROM "Track"',
            ("Playlist", "TRACK", "Track"): 'SELECT count(*) FROM "PlaylistTrack"',
        },
    ),
    "clinic": (
        ("ward", "Back Office.Work Orders", "passages"),
        {
            ("WorkOrder", "WARD", "Ward"): 'SELECT count(*) FROM "Back Office"."Work Orders" WHERE NOT deleted',
            ("Ward", "PASSAGE", "Passage"): "SELECT count(*) FROM ward_passage",
        },
    ),
}
"""Tables that are named, and what SQL counts for each link: source, type, target."""


@pytest.mark.parametrize("schema", LINKED)
def test_every_link_that_init_proposes_stands_after_a_backfill(start: Start, schema: str) -> None:
    """Foreign keys, also of several columns; tables that join two others; columns whose values are records."""
    tables, counts = LINKED[schema]
    start.fill(schema)
    start.execute("UPDATE film SET original_language_id = 1 WHERE film_id % 3 = 0" if schema == "rental" else "")
    assert start.init(*tables).links == len(counts)
    config = load_config(start.folder / "new.toml", start.environment)
    checked = check(config, surroundings=start.around)
    assert [item for item in checked.findings if item.verdict == "fail"] == []
    plan(config, surroundings=start.around)
    done = backfill(config, surroundings=start.around)
    assert [link.dangling for link in done.links] == [0] * len(counts)
    assert start.links() == {link: start.count(query) for link, query in counts.items()}


@pytest.mark.parametrize("schema", STORED)
def test_nothing_personal_and_no_withheld_text_is_stored(start: Start, schema: str) -> None:
    """Also under names that say nothing: contents decide."""
    start.fill(schema)
    start.init()
    backfill(load_config(start.folder / "new.toml", start.environment), surroundings=start.around)
    stored = start.stored()
    for text in (*PERSONAL, "thoughtful tale", "replace the filter", "evening round", "house rules", "about supplies"):
        assert text not in stored, text


@pytest.mark.parametrize("schema", STORED)
def test_a_proposal_holds_no_value_of_any_row(start: Start, schema: str) -> None:
    """Names of tables and columns alone, on stdout as on stderr."""
    start.fill(schema)
    result = start.init()
    for text in (*PERSONAL, "thoughtful", "corridor", "NUMBER", "Rock", "Trailers", "PG-13", "north"):
        assert text not in result.text, text


def test_long_text_is_embedded_and_withheld_and_its_words_with_it(start: Start) -> None:
    """A search column holds the text word by word."""
    start.fill("rental")
    result = start.init()
    [film] = result.tables
    assert "description" not in film.columns
    assert film.withheld == ("description",)
    assert film.embeddings[0].template == "{title}\n{description}"
    assert film.left_out == {"fulltext": "holds the words of a text that stays"}
    assert film.changed_by == ("last_update", True)
    assert film.nodes == ("rating",)


def test_tables_named_are_proposed_with_the_links_between_them(start: Start) -> None:
    """A foreign key, and a table that only joins two others."""
    start.fill("rental")
    result = start.init("film", "public.language", "actor")
    assert [table.label for table in result.tables] == ["Film", "Language", "Actor"]
    config = load_config(start.folder / "new.toml", start.environment)
    assert [(link.type, link.foreign_key or link.through) for link in config.links] == [
        ("LANGUAGE", "public.film.film_language_id_fkey"),
        ("ORIGINAL_LANGUAGE", "public.film.film_original_language_id_fkey"),
        ("RATING", None),
        ("FILM", "public.film_actor"),
    ]
    assert [(node.label, node.column) for node in config.nodes] == [("Rating", "rating")]
    assert '# properties = ["last_update"]' in result.text
    assert (result.links, result.nodes) == (4, ("Rating",))


def test_columns_that_are_keys_or_name_records_become_no_nodes(start: Start) -> None:
    """Their values are records already; others of few values, and a table whose key joins two others, are proposed."""
    start.execute(
        "CREATE TABLE country (code text PRIMARY KEY, name text);"
        "CREATE TABLE firm (id int PRIMARY KEY, country text REFERENCES country, parent int REFERENCES firm,"
        " branch text);"
        'CREATE TABLE partner (a int REFERENCES firm, b int REFERENCES firm, share int, "total" int,'
        " PRIMARY KEY (a, b));"
        "INSERT INTO country SELECT 'C' || n, 'Country ' || n FROM generate_series(1, 4) AS n;"
        "INSERT INTO firm SELECT n, 'C' || 1 + n % 4, nullif(n / 2, 0), 'branch ' || n % 3"
        " FROM generate_series(1, 60) AS n;"
        "INSERT INTO partner SELECT n, n + 1, n FROM generate_series(1, 59) AS n"
    )
    result = start.init("firm", "country")
    config = load_config(start.folder / "new.toml", start.environment)
    assert [(node.label, node.column) for node in config.nodes] == [("Branch", "branch")]
    assert [link.type for link in config.links] == ["COUNTRY", "PARENT", "BRANCH", "B"]
    assert '# properties = ["share"]   # of the link' in result.text
    backfill(config, surroundings=start.around)
    assert start.links() == {
        ("Firm", "COUNTRY", "Country"): 60,
        ("Firm", "PARENT", "Firm"): 59,
        ("Firm", "BRANCH", "Branch"): 60,
        ("Firm", "B", "Firm"): 59,
    }


def test_a_key_that_is_an_address_stays_at_home(start: Start) -> None:
    """RushDB gets its keyed hash."""
    start.fill("clinic")
    note = next(table for table in start.init().tables if table.name == "public.notes")
    assert note.hash_key_values
    assert note.columns == ("deleted_at", "updated_at")
    assert set(note.left_out) == {"Author's mail", "password", "created_by"}
    assert note.deleted_when == "deleted_at is not null"


def test_vectors_that_are_there_need_no_model(start: Start) -> None:
    """Of pgvector, and arrays of one length; ratings of different lengths are a list."""
    start.fill("clinic")
    result = start.init("passages")
    [passages] = result.tables
    assert [(item.vector, item.template) for item in passages.embeddings] == [
        ("embedding", "{passage}"),
        ("other", None),
    ]
    assert "ratings" in passages.columns
    assert not result.needs_model
    assert "models" not in tomllib.loads(result.text)


def test_names_that_queries_cannot_write_are_changed_and_others_kept(start: Start) -> None:
    """Reserved ones too; letters of any language are letters."""
    start.fill("clinic")
    order = next(table for table in start.init().tables if table.label == "WorkOrder")
    assert order.rename == {
        "Order No.": "orderNo",
        "Ward #": "ward",
        "100% sure?": "workOrder100Sure",
        "data": "workOrderData",
        "{odd}": "odd",
        "who called": "whoCalled",
        "__hidden": "hidden",
        "Updated At": "updatedAt",
    }
    assert order.types == {"Cost": "text", "Exact": "text"}
    assert set(order.left_out) == {"Reach", "payload"}
    assert order.changed_by == ("Updated At", False)


def test_a_table_without_a_key_is_named_with_the_reason(start: Start) -> None:
    """And so is one that the role may not read."""
    start.fill("clinic")
    others = start.init().others
    assert "neither a primary key nor a unique index" in others["public.heap"]
    assert others["public.ward_passage"] == "only joins other tables"


def test_rows_beyond_the_first_thousand_are_sampled_too(start: Start) -> None:
    """The oldest rows of a large table often lack what the newer ones have."""
    start.execute(
        "CREATE TABLE post (id int PRIMARY KEY, body text);"
        "INSERT INTO post SELECT n, CASE WHEN n > 2000 THEN"
        " 'Enough words to be taken for a text by whoever reads the number ' || n END"
        " FROM generate_series(1, 30000) AS n; ANALYZE post"
    )
    [post] = start.init().tables
    assert post.withheld == ("body",)
    assert post.rows == 30000


def test_every_server_version_is_looked_at_alike(any_database: str, tmp_path: Path) -> None:
    """Catalogues differ between versions."""
    start = Start(tmp_path, any_database, "http://127.0.0.1:9")
    start.fill("rental")
    [film] = start.init().tables
    assert (film.withheld, film.nodes, len(film.columns)) == (("description",), ("rating",), 12)
    config = load_config(start.folder / "new.toml", start.environment)
    failed = {item.about for item in check(config, surroundings=start.around).findings if item.verdict == "fail"}
    assert failed == {"target", "model text"}
