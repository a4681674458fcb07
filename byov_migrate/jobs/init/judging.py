"""What becomes of a column: it leaves, it is embedded and stays, it holds vectors, or it is left out. Pure.

Judged by name, type and figures of a sample; no value of a row is known here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from byov_migrate.config import ValueType
from byov_migrate.jobs.init.naming import words
from byov_migrate.source.sampling import ColumnSample
from byov_migrate.source.shape import Column
from byov_migrate.source.survey import has_form
from byov_migrate.source.vectors import declared_dimension, holds_vectors

Role: TypeAlias = Literal["sent", "embedded", "vector", "left out"]

LONG_CHARACTERS: Final = 60
LONG_WORDS: Final = 8
SHORTEST_VECTOR: Final = 8
LABEL_CHARACTERS: Final = 40
REPEATED: Final = 5
"""How often a value of a column stands there on average, from which on records of its own may be made of the values."""

_PERSONAL: Final = frozenset(
    {
        *("email", "mail", "phone", "telephone", "tel", "fax", "mobile", "cell", "msisdn", "skype"),
        *("firstname", "lastname", "surname", "forename", "fullname", "username", "nickname", "login"),
        *("address", "address1", "address2", "street", "zip", "zipcode", "postcode", "postal", "latitude", "longitude"),
        *("emails", "phones", "addresses", "gender", "sex", "religion", "nationality", "ethnicity"),
        *("ssn", "passport", "iban", "bic", "creditcard", "cardnumber", "ip", "ipaddress", "signature", "photo"),
    }
)
_BIRTH: Final = frozenset({"birth", "birthday", "birthdate", "born", "dob"})
_SECRET: Final = frozenset({"password", "passwd", "pwd", "secret", "token", "apikey", "salt", "hash", "pin", "cvv"})
_OF_NAMES: Final = frozenset(
    {"first", "last", "middle", "full", "given", "family", "maiden", "user", "contact", "nick", "legal", "sur"}
)
_PEOPLE: Final = frozenset(
    {
        *("person", "people", "user", "users", "customer", "customers", "employee", "employees", "staff", "member"),
        *("members", "patient", "patients", "student", "students", "teacher", "teachers", "contact", "contacts"),
        *("candidate", "candidates", "applicant", "applicants", "author", "authors", "actor", "actors", "owner"),
        *("owners", "manager", "managers", "recruiter", "recruiters", "subscriber", "subscribers", "lead", "leads"),
    }
)
_PROSE: Final = frozenset({"description", "body", "content", "text", "summary", "abstract", "comment", "notes", "bio"})
_HOLDS_ANYTHING: Final = frozenset({"json", "jsonb", "xml", "bytea", "hstore"})
_WORDS_OF_TEXT: Final = frozenset({"tsvector", "tsquery"})
_CHANGED: Final = frozenset({"updated", "update", "modified", "modification", "changed", "change"})
_DELETED: Final = frozenset({"deleted", "removed"})
_MOMENTS: Final = ("timestamptz", "timestamp")


@dataclass(frozen=True, slots=True)
class Judged:
    """One column and what becomes of it.

    why: it is left out; types: how it leaves, where that must be said; personal: why it is left out.
    """

    column: Column
    sample: ColumnSample
    role: Role
    why: str = ""
    types: ValueType | None = None
    personal: bool = False

    @property
    def name(self) -> str:
        """The column's."""
        return self.column.name


def judge(table: str, column: Column, sample: ColumnSample) -> Judged:
    """What becomes of a column of the table of this name."""
    if holds_vectors(column) and _is_vector(column, sample):
        return Judged(column, sample, "vector")
    if reason := _sensitive(table, column, sample):
        return Judged(column, sample, "left out", reason, personal=True)
    if is_text(column) and is_long(column, sample):
        return Judged(column, sample, "embedded")
    if reason := _unsuited(column):
        return Judged(column, sample, "left out", reason)
    as_text = not has_form(column) or bool(sample.unfit)
    return Judged(column, sample, "sent", types="text" if as_text else None)


def _is_vector(column: Column, sample: ColumnSample) -> bool:
    """A column of arrays holds vectors when all have one length that no list of a few numbers has."""
    if column.element is None:
        return declared_dimension(column) is not None or sample.filled > 0
    one_length = sample.shortest == sample.longest >= SHORTEST_VECTOR
    return one_length and not sample.unfit and sample.filled > 1


def is_text(column: Column) -> bool:
    """Whether a column holds text as people write it."""
    return column.element is None and column.base.kind == "b" and column.base.category == "S"


def is_long(column: Column, sample: ColumnSample) -> bool:
    """Sentences rather than names; of an empty column the name has to tell."""
    if not sample.filled:
        return column.modifier < 0 and bool(_PROSE & set(words(column.name)))
    return sample.mean_length >= LONG_CHARACTERS and sample.mean_words >= LONG_WORDS


def _sensitive(table: str, column: Column, sample: ColumnSample) -> str:
    named = words(column.name)
    joined = {*named, *("".join(pair) for pair in itertools.pairwise(named))}
    base = column.element or column.base
    if base.name in ("inet", "cidr"):
        return "looks personal: an address on the network"
    if base.category == "D":
        return "looks personal" if _BIRTH & joined else ""
    if base.category != "S" and base.kind != "e" and base.name not in ("bytea", "uuid"):
        return "looks personal" if _is_number_of_person(column, joined) else ""
    if _SECRET & joined:
        return "looks secret"
    is_prose = is_text(column) and is_long(column, sample)
    return "" if is_prose else _by_name(table, named, joined) or _by_content(table, named, sample)


def _by_name(table: str, named: Sequence[str], joined: Collection[str]) -> str:
    telling = (_PERSONAL | _BIRTH) & set(joined)
    return "looks personal" if telling or _is_name_of_person(table, named) else ""


def _is_number_of_person(column: Column, joined: Collection[str]) -> bool:
    """Numbers are personal under fewer names: a price in a mobile shop is not."""
    telling = {"phone", "telephone", "fax", "ssn", "passport", "latitude", "longitude", "zip", "zipcode", "postcode"}
    return column.base.category == "N" and bool(telling & set(joined))


def _is_name_of_person(table: str, named: Sequence[str]) -> bool:
    if "name" not in named and "names" not in named:
        return False
    before = named[: named.index("name" if "name" in named else "names")]
    return bool(set(before) & (_OF_NAMES | _PEOPLE)) or (named == ["name"] and bool(set(words(table)) & _PEOPLE))


def _by_content(table: str, named: Sequence[str], sample: ColumnSample) -> str:
    if sample.share(sample.emails) >= 0.3:
        return "looks personal: e-mail addresses"
    if sample.share(sample.phones) >= 0.5:
        return "looks personal: telephone numbers"
    of_people = _PEOPLE & {*named, *words(table)}
    return "looks personal: names of people" if of_people and sample.share(sample.persons) >= 0.5 else ""


def _unsuited(column: Column) -> str:
    """Why a column is better left out, whatever its values."""
    base = column.element or column.base
    if base.name in _WORDS_OF_TEXT:
        return "holds the words of a text that stays"
    if base.name in _HOLDS_ANYTHING:
        return f"{base.name} may hold anything"
    has_no_text = base.schema != "pg_catalog" or base.kind == "c"
    return f"type {column.declared} has no exact form in RushDB" if has_no_text and not has_form(column) else ""


def changed_by(columns: Mapping[str, Column]) -> tuple[str, bool] | None:
    """The column that says when a row was changed, and whether it is of type timestamptz."""
    found = [name for name, column in columns.items() if _is_moment(column) and _CHANGED & set(words(name))]
    return (found[0], columns[found[0]].base.name == "timestamptz") if found else None


def deleted_when(columns: Mapping[str, Column]) -> str | None:
    """The filter for rows that are there but count as deleted."""
    for name, column in columns.items():
        if not _DELETED & set(words(name)):
            continue
        written = name if re.fullmatch(r"\w+", name) else '"' + name.replace('"', '""') + '"'
        if _is_moment(column) and not column.not_null:
            return f"{written} is not null"
        if column.base.name == "bool" and column.element is None:
            return f"{written} = true"
    return None


def _is_moment(column: Column) -> bool:
    return column.element is None and column.base.name in _MOMENTS


def may_be_node(judged: Judged) -> bool:
    """Whether the column's values repeat so often that each could be a record of its own."""
    sample, column = judged.sample, judged.column
    named = column.element is None and (is_text(column) or column.base.kind == "e")
    repeats = sample.distinct >= 2 and sample.filled >= REPEATED * sample.distinct
    return judged.role == "sent" and named and repeats and sample.mean_length <= LABEL_CHARACTERS


def is_title(judged: Judged) -> bool:
    """Whether the column names what the row is about, so that the model should see it first."""
    telling = {"title", "name", "subject", "headline"}
    return judged.role == "sent" and is_text(judged.column) and bool(telling & set(words(judged.name)))
