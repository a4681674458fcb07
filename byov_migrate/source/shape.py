"""A table as the catalogue describes it, reduced to what the configuration uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from byov_migrate.source.statements import column_of_row, name, qualified_type


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type at the end of its domains. `kind` is pg_type.typtype, `category` pg_type.typcategory."""

    schema: str
    name: str
    kind: str
    category: str

    def __str__(self) -> str:
        return qualified_type(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `declared` and `cast` are SQL: the type as it stands; what its domains end in, without a modifier.

    Values are cast to the latter: a modifier would round them, a domain's check would refuse a question.
    """

    name: str
    declared: str
    cast: str
    modifier: int
    not_null: bool
    collation: str
    base: TypeName
    element: TypeName | None  # of an array
    send: tuple[str, str]  # schema and name of the function that makes the binary form

    @property
    def signature(self) -> str:
        """What must not change while a plan is worked through."""
        return signature(self.declared, self.collation, not_null=self.not_null)


def signature(declared: str, collation: str, *, not_null: bool) -> str:
    """`character varying(40) collate C not null`."""
    parts = [
        declared,
        f"collate {collation}" if collation not in ("", "default") else "",
        "not null" if not_null else "",
    ]
    return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table or view and the columns in use. `key` is in key order; `proven` means that an index keeps it unique."""

    oid: int
    schema: str
    relation: str
    kind: str  # pg_class.relkind: r p v m f
    columns: Mapping[str, Column]
    key: tuple[Column, ...]
    proven: bool
    estimated_rows: int  # 0 where nobody has counted yet
    derived: sql.Composed | None = None  # what is read in place of the relation: SQL without parameters

    def __str__(self) -> str:
        return f"{self.schema}.{self.relation}"

    @property
    def from_item(self) -> sql.Composed:
        """What stands after FROM."""
        return sql.SQL("{} AS byov").format(self.derived or name(self.schema, self.relation))

    @property
    def key_identifiers(self) -> list[sql.Identifier]:
        """The quoted key columns of `from_item`."""
        return [column_of_row(column.name) for column in self.key]

    @property
    def signatures(self) -> Mapping[str, str]:
        """Of each column in use."""
        return {column.name: column.signature for column in self.columns.values()}
