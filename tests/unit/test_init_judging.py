"""What becomes of a column: judged by name, type and figures, erring on the side of leaving it out."""

from __future__ import annotations

import pytest

from byov_migrate.jobs.init.judging import changed_by, deleted_when, judge, may_be_node
from byov_migrate.source.sampling import ColumnSample
from byov_migrate.source.shape import Column, TypeName

SHORT = ColumnSample(filled=100, distinct=100, mean_length=9, mean_words=1.2)
LONG = ColumnSample(filled=100, distinct=100, mean_length=400, mean_words=60)
TEXT, NUMBER = TypeName("pg_catalog", "text", "b", "S"), TypeName("pg_catalog", "int4", "b", "N")
MOMENT, TRUTH = TypeName("pg_catalog", "timestamptz", "b", "D"), TypeName("pg_catalog", "bool", "b", "B")


def column(name: str, base: TypeName = TEXT, element: TypeName | None = None, *, not_null: bool = False) -> Column:
    """A column of this type."""
    return Column(name, base.name, base.name, -1, not_null, "", base, element, ("pg_catalog", f"{base.name}send"))


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("job", "contact_email"),
        ("job", "eMail"),
        ("job", "PhoneNumber"),
        ("job", "first_name"),
        ("job", "LastName"),
        ("job", "contact name"),
        ("customers", "name"),
        ("job", "recruiter_name"),
        ("job", "street"),
        ("job", "PostalCode"),
        ("job", "date_of_birth"),
        ("job", "user_name"),
        ("job", "password_hash"),
        ("job", "api_key"),
        ("job", "session_token"),
    ],
)
def test_a_column_that_sounds_personal_or_secret_is_left_out(table: str, name: str) -> None:
    """Whoever wants it sent has to write it down."""
    assert judge(table, column(name), SHORT).role == "left out"


@pytest.mark.parametrize(
    ("name", "base", "element"),
    [
        ("emails", TypeName("pg_catalog", "_text", "b", "A"), TEXT),
        ("gender", TypeName("public", "gender", "e", "E"), None),
        ("BirthDate", MOMENT, None),
        ("phone", TypeName("pg_catalog", "int8", "b", "N"), None),
        ("photo", TypeName("pg_catalog", "bytea", "b", "U"), None),
        ("seen_at", TypeName("pg_catalog", "inet", "b", "I"), None),
    ],
)
def test_a_personal_column_is_one_whatever_its_type(name: str, base: TypeName, element: TypeName | None) -> None:
    """Lists, enumerations, dates and numbers are about people too."""
    assert judge("job", column(name, base, element), ColumnSample(filled=9, distinct=9)).role == "left out"


def test_a_list_that_holds_addresses_is_left_out() -> None:
    """Under a name that says nothing."""
    reach = column("reach", TypeName("pg_catalog", "_text", "b", "A"), TEXT)
    assert judge("job", reach, ColumnSample(filled=10, emails=3)).role == "left out"
    assert judge("job", reach, ColumnSample(filled=10, emails=2)).role == "sent"


@pytest.mark.parametrize(
    ("table", "name", "base"),
    [
        ("job", "email_verified_at", MOMENT),
        ("job", "name", TEXT),
        ("company", "company_name", TEXT),
        ("job", "title", TEXT),
        ("job", "emails_sent", NUMBER),
        ("shop", "mobile_price", NUMBER),
        ("job", "token_count", NUMBER),
        ("job", "address_id", NUMBER),
        ("job", "phase", TEXT),
        ("job", "mailbox", TEXT),
    ],
)
def test_a_column_that_only_resembles_one_is_sent(table: str, name: str, base: TypeName) -> None:
    """A proposal that leaves out what is harmless is edited without being read."""
    assert judge(table, column(name, base), SHORT).role == "sent"


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (ColumnSample(filled=10, distinct=10, mean_length=18, emails=3), "e-mail"),
        (ColumnSample(filled=10, distinct=10, mean_length=15, phones=5), "telephone"),
    ],
)
def test_contents_decide_where_a_name_says_nothing(sample: ColumnSample, why: str) -> None:
    """A column called `reach` or `value`."""
    found = judge("job", column("value"), sample)
    assert found.role == "left out"
    assert why in found.why
    few = ColumnSample(filled=100, distinct=100, mean_length=18, emails=sample.emails, phones=sample.phones)
    assert judge("job", column("value"), few).role == "sent"


def test_names_of_people_are_seen_where_people_are_spoken_of() -> None:
    """Titles of films look the same."""
    sample = ColumnSample(filled=10, distinct=10, mean_length=12, persons=10)
    assert judge("film", column("title"), sample).role == "sent"
    assert judge("film", column("lead"), sample).role == "left out"


@pytest.mark.parametrize("filled", [LONG, ColumnSample()])
def test_long_text_is_embedded_and_of_an_empty_column_the_name_tells(filled: ColumnSample) -> None:
    """A table that is filled tomorrow."""
    assert judge("job", column("description"), filled).role == "embedded"


def test_a_long_code_is_no_text() -> None:
    """A path or an address has no words."""
    assert judge("job", column("path"), ColumnSample(10, 10, 200, 1)).role == "sent"


@pytest.mark.parametrize("name", ["tsvector", "jsonb", "xml", "bytea"])
def test_what_may_hold_anything_is_left_out(name: str) -> None:
    """Above all the words of the text that stays."""
    assert judge("job", column("stuff", TypeName("pg_catalog", name, "b", "U")), SHORT).role == "left out"


@pytest.mark.parametrize(("base", "unfit"), [("money", 0), ("macaddr", 0), ("int8", 1), ("numeric", 3)])
def test_what_has_no_exact_form_leaves_as_text(base: str, unfit: int) -> None:
    """By type, or by a value that was met."""
    found = judge("job", column("x", TypeName("pg_catalog", base, "b", "N")), ColumnSample(filled=9, unfit=unfit))
    assert (found.role, found.types) == ("sent", "text")


def test_a_type_of_an_extension_is_left_out() -> None:
    """Its text may be anything."""
    assert judge("job", column("x", TypeName("public", "geometry", "b", "U")), SHORT).role == "left out"


@pytest.mark.parametrize(
    ("shortest", "longest", "unfit", "role"),
    [(16, 16, 0, "vector"), (3, 3, 0, "sent"), (15, 16, 0, "sent"), (16, 16, 1, "sent")],
)
def test_arrays_of_one_length_are_vectors(shortest: int, longest: int, unfit: int, role: str) -> None:
    """Three ratings are none, and neither are arrays of two lengths or with NULL."""
    floats = TypeName("pg_catalog", "float4", "b", "N")
    sample = ColumnSample(filled=9, shortest=shortest, longest=longest, unfit=unfit)
    assert judge("job", column("x", TypeName("pg_catalog", "_float4", "b", "A"), floats), sample).role == role


def test_an_empty_column_of_vectors_is_left_out() -> None:
    """A backfill would refuse it: nobody knows the dimension."""
    vector = TypeName("public", "vector", "b", "U")
    assert judge("job", column("x", vector), ColumnSample()).role == "left out"
    assert judge("job", column("x", vector), ColumnSample(filled=1)).role == "vector"


@pytest.mark.parametrize(
    ("found", "filter_"),
    [
        (column("deleted_at", MOMENT), "deleted_at is not null"),
        (column("Deleted At", MOMENT), '"Deleted At" is not null'),
        (column("is_deleted", TRUTH, not_null=True), "is_deleted = true"),
        (column("deleted_at", MOMENT, not_null=True), None),
        (column("undeletable", TRUTH), None),
        (column("deleted_by", NUMBER), None),
    ],
)
def test_a_row_counts_as_deleted_by_a_column_that_can_say_so(found: Column, filter_: str | None) -> None:
    """A moment that is never NULL marks every row."""
    assert deleted_when({found.name: found}) == filter_


def test_the_time_of_a_change_is_a_timestamp_by_its_name() -> None:
    """Without a time zone it may hold anything but UTC."""
    local = TypeName("pg_catalog", "timestamp", "b", "D")
    assert changed_by({"updated_at": column("updated_at", MOMENT)}) == ("updated_at", True)
    assert changed_by({"LastUpdate": column("LastUpdate", local)}) == ("LastUpdate", False)
    assert changed_by({"created_at": column("created_at", MOMENT), "updated_by": column("updated_by")}) is None


def test_few_short_values_may_be_nodes() -> None:
    """Many or long ones, one alone, and numbers are none."""
    few = ColumnSample(filled=100, distinct=20, mean_length=12)
    assert may_be_node(judge("job", column("company"), few))
    assert not may_be_node(judge("job", column("company"), ColumnSample(filled=100, distinct=21, mean_length=12)))
    assert not may_be_node(judge("job", column("company"), ColumnSample(filled=100, distinct=1, mean_length=12)))
    assert not may_be_node(judge("job", column("company"), ColumnSample(filled=100, distinct=9, mean_length=50)))
    assert not may_be_node(judge("job", column("size", NUMBER), few))
