"""Nodes and links that `init` proposes, of catalogues that are hard to read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from byov_migrate.jobs.init.joining import NOT_CHOSEN, Joins, Link, Node, find_links, find_nodes, joining_tables
from byov_migrate.jobs.init.judging import Judged
from byov_migrate.jobs.init.proposal import ProposedTable, SurveyedTable, propose
from byov_migrate.source.sampling import ColumnSample
from byov_migrate.source.shape import TableShape
from byov_migrate.source.survey import ForeignKey, FoundTable
from tests.unit.link_shapes import column

FEW = ColumnSample(filled=100, distinct=4, mean_length=9, mean_words=1.2)
MANY = ColumnSample(filled=100, distinct=100, mean_length=9, mean_words=1.2)
OIDS = {"job": 1, "company": 2, "joined": 9}


def surveyed(name: str, *columns: str, personal: tuple[str, ...] = ()) -> SurveyedTable:
    """A table of these columns; those that begin with `few` have few values."""
    known = {item: column(item) for item in ("id", *columns)}
    judged = tuple(
        Judged(item, FEW if item.name.startswith("few") else MANY, "left out" if item.name in personal else "sent")
        for item in known.values()
    )
    judged = tuple(
        Judged(item.column, item.sample, item.role, personal=True) if item.name in personal else item for item in judged
    )
    shape = TableShape(OIDS[name], "public", name, "r", known, (known["id"],), True, 100)
    return SurveyedTable(FoundTable(OIDS[name], "public", name), shape, judged, 100)


def foreign(name: str, table: str, columns: str, target: str, key: str = "id") -> ForeignKey:
    """A foreign key of these columns, separated by spaces."""
    own = tuple(columns.split())
    return ForeignKey(name, OIDS[table], OIDS[target], "public", table, own, tuple(key.split()), 9, frozenset())


def proposed(
    tables: list[SurveyedTable], keys: list[ForeignKey], columns: dict[int, tuple[str, ...]] | None = None
) -> tuple[list[ProposedTable], tuple[Node, ...], tuple[Link, ...]]:
    """Everything that is proposed of these tables."""
    made: list[ProposedTable] = []
    for table in tables:
        references = {name for key in keys if key.table == table.found.oid for name in key.columns}
        made.append(propose(table, {item.label for item in made}, references, hash_key_values=False))
    nodes = find_nodes(made)
    joins = Joins({table.found.oid: table.found for table in tables}, keys, columns or {})
    return made, nodes, find_links(joins, tables, made, nodes)


def links(*arguments: object) -> tuple[Link, ...]:
    """The links alone."""
    return proposed(*arguments)[2]  # type: ignore[arg-type]


def test_columns_that_are_keys_or_references_are_no_nodes() -> None:
    """Others of few values are, under labels that no table has."""
    tables = [surveyed("job", "few_company", "few_kind"), surveyed("company", "few_job", "few_kind")]
    keys = [foreign("fk", "job", "few_company", "company")]
    _, nodes, found = proposed(tables, keys)
    assert [(node.label, node.column) for node in nodes] == [
        ("Kind", "few_kind"),
        ("CompanyJob", "few_job"),
        ("CompanyKind", "few_kind"),
    ]
    assert [(link.type, link.source, link.target) for link in found] == [
        ("FEW_COMPANY", "Job", "Company"),
        ("FEW_KIND", "Job.few_kind", "Kind.name"),
        ("FEW_JOB", "Company.few_job", "CompanyJob.name"),
        ("FEW_KIND", "Company.few_kind", "CompanyKind.name"),
    ]


def test_a_type_is_an_identifier_that_a_label_has_once() -> None:
    """Two keys of one column, a column of that name, and a table that joins: all would have one type."""
    tables = [surveyed("job", "company", "CompanyId", "few company"), surveyed("company")]
    keys = [
        foreign("a", "job", "company", "company"),
        foreign("b", "job", "CompanyId", "company"),
        foreign("c", "joined", "job_id", "job"),
        foreign("d", "joined", "company_id", "company"),
    ]
    keys[2:] = [replace(key, table_columns=2) for key in keys[2:]]
    found = links(tables, keys, {9: ("job_id", "company_id")})
    assert [link.type for link in found] == ["COMPANY", "COMPANY2", "FEW_COMPANY", "COMPANY3"]
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*", link.type) for link in found)


@pytest.mark.parametrize(
    ("table", "key", "problem"),
    [
        (surveyed("job", "company_id"), foreign("fk", "job", "hidden", "company"), "the role may not read its columns"),
        (surveyed("job", "a", "b"), foreign("odd.name", "job", "a b", "company", "id x"), "its name holds a dot"),
        (
            surveyed("job", "phone", personal=("phone",)),
            foreign("fk", "job", "phone", "company"),
            "its column looks personal, and the key that it names would leave",
        ),
    ],
    ids=["unreadable", "unwritable", "personal"],
)
def test_a_foreign_key_that_cannot_be_proposed_is_told_with_the_reason(
    table: SurveyedTable, key: ForeignKey, problem: str
) -> None:
    """Leaving it out in silence would look as if there was none."""
    [link] = links([table, surveyed("company")], [key])
    assert link.problem == problem


def test_a_constraint_with_a_dot_in_its_name_is_said_by_its_columns() -> None:
    """The part behind the last dot is taken for the name."""
    [link] = links(
        [surveyed("job", "company_id"), surveyed("company")], [foreign("o.k", "job", "company_id", "company")]
    )
    assert (link.source, link.target, link.foreign_key, link.problem) == ("Job.company_id", "Company.id", None, "")


def test_a_key_to_a_table_that_is_not_chosen_is_told() -> None:
    """By its label or its name."""
    [link] = links([surveyed("job", "company_id")], [foreign("fk", "job", "company_id", "company")])
    assert (link.target, link.problem) == ("another table", NOT_CHOSEN)


def joining(columns: int, key: frozenset[str], *, second: str = "company_id") -> list[ForeignKey]:
    """Two foreign keys of one table with so many columns and this primary key."""
    both = [foreign("z", "joined", "job_id", "job"), foreign("a", "joined", second, "company")]
    return [replace(item, table_columns=columns, table_key=key) for item in both]


@pytest.mark.parametrize(
    ("keys", "joins"),
    [
        (joining(2, frozenset()), True),
        (joining(5, frozenset({"job_id", "company_id"})), True),
        (joining(5, frozenset({"job_id", "company_id", "since"})), False),
        (joining(5, frozenset({"id"})), False),
        (joining(1, frozenset({"job_id"}), second="job_id"), False),
        (joining(2, frozenset())[:1], False),
    ],
    ids=["nothing else", "key of both", "key of more", "key of its own", "one column twice", "one key"],
)
def test_a_table_joins_when_it_is_nothing_else_or_its_key_is_both(keys: list[ForeignKey], *, joins: bool) -> None:
    """What has a key of its own is something of its own."""
    assert bool(list(joining_tables(keys))) is joins


@pytest.mark.parametrize(
    ("columns", "ends"),
    [
        (("job_id", "company_id", "level", "since"), ("Job", "Company")),
        (("since", "company_id", "level", "job_id"), ("Company", "Job")),
    ],
)
def test_a_join_leads_from_what_its_table_names_first(columns: tuple[str, ...], ends: tuple[str, str]) -> None:
    """Its other columns may become properties."""
    [link] = links([surveyed("job"), surveyed("company")], joining(2, frozenset()), {9: columns})
    assert (link.source, link.target, link.through) == (*ends, "public.joined")
    assert set(link.properties) == {"level", "since"}


def test_a_joining_table_that_the_role_may_not_read_is_told() -> None:
    """A backfill would end 77 after all records are written."""
    [link] = links([surveyed("job"), surveyed("company")], joining(2, frozenset()), {9: ("job_id",)})
    assert link.problem == "the role may not read public.joined"
