"""File and environment -> one frozen Config. Every mistake is reported at once, with its key path and its fix.

Nothing is connected to and no secret is read here: a `Secret` says where it is and is read anew for each connection.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from byov_migrate import config_checks
from byov_migrate.config_values import (
    CarrierRole,
    Duration,
    FilterText,
    Identifier,
    LocalPath,
    LocatedSecret,
    Secret,
    Section,
    TemplateText,
    duration,
)
from byov_migrate.errors import ConfigurationError

LongText: TypeAlias = Literal["truncate", "mean", "reject"]
ValueType: TypeAlias = Literal["text", "number", "datetime-ms"]


class SourceConfig(Section):
    """`[source]`: PostgreSQL, read only."""

    dsn: LocatedSecret
    ca_file: LocalPath | None = None
    tls: Literal["verify-full", "verify-ca", "insecure"] = "verify-full"


class TargetConfig(Section):
    """`[target]`: RushDB."""

    url: str
    api_key: LocatedSecret
    proxy: Annotated[str, AfterValidator(config_checks.check_proxy)] | None = Field(default=None, repr=False)
    ca_file: LocalPath | None = None
    tls: Literal["verify-full", "insecure"] = "verify-full"
    wire: Literal["auto", "rest", "engine"] = "auto"
    write: Literal["auto", "inline", "two-call"] = "auto"
    writers: int = Field(default=3, ge=1, le=8)
    batch_rows: int = Field(default=1000, ge=1, le=1000)
    request_budget: Annotated[float, BeforeValidator(duration), Field(ge=1)] | None = None
    give_up_after: Duration = 1200.0

    @model_validator(mode="after")
    def _safe_url(self) -> TargetConfig:
        config_checks.check_target_url(self.url, insecure=self.tls == "insecure")
        return self

    @property
    def base_url(self) -> str:
        """The URL of the REST routes' root, without `/api/v1`."""
        return re.sub(r"(/api(/v\d+)?)?/*$", "", self.url)

    @property
    def is_cloud(self) -> bool:
        """Whether this is RushDB Cloud, where plan limits apply."""
        return (urlsplit(self.url).hostname or "").endswith("rushdb.com")


class StateConfig(Section):
    """`[state]`: what is done, on this machine."""

    url: str = ""
    hash_key: LocatedSecret | None = None
    vectors: bool = False
    source_id: str | None = None

    @model_validator(mode="after")
    def _sqlite_only(self) -> StateConfig:
        if self.url and not self.url.startswith("sqlite:///"):
            raise ValueError('url: only "sqlite:///FILE" is known')
        return self


class ModelConfig(Section):
    """`[models.NAME]`: a sentence-transformers directory on this machine."""

    path: LocalPath
    device: str = "auto"
    long_text: LongText = "truncate"
    document_prompt: str = ""
    query_prompt: str = ""
    max_tokens: int | None = Field(default=None, ge=8)
    normalize: bool = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_tokens: int | None = Field(default=None, ge=64)


def spare_of(property_name: str) -> str:
    """The spare property of an embedding's, also of one that only the state knows any more."""
    return f"{property_name}Alt"


class EmbeddingConfig(Section):
    """`[[tables.embeddings]]`: one vector of a record."""

    property_name: str = Field(alias="property")
    text: TemplateText | None = None
    vector: str | None = None
    model: str | None = None
    similarity: Literal["cosine"] = "cosine"
    send_text: bool = False
    spare: bool = True
    empty_text: Literal["store", "reject"] = "store"

    @model_validator(mode="after")
    def _has_content(self) -> EmbeddingConfig:
        if self.vector is None and (self.text is None or self.model is None):
            raise ValueError("needs text and model, or vector: the column that holds ready vectors")
        if self.send_text and (self.text is None or self.vector is not None):
            raise ValueError("send_text needs text, and no vector column; to send a column, list it in columns")
        return self

    @property
    def spare_property(self) -> str:
        """`PAlt`, where a new model's vectors can be attached beside the live ones."""
        return spare_of(self.property_name)

    @property
    def carrier(self) -> str:
        """The property whose index holds the vectors."""
        return self.property_name

    @property
    def role(self) -> CarrierRole:
        """Which of the embedding's vectors these are."""
        return CarrierRole()


class TableConfig(Section):
    """`[[tables]]`: one PostgreSQL table or view, and the label it becomes."""

    name: str
    label: Identifier
    columns: tuple[str, ...] = Field(min_length=1)
    rename: Mapping[str, str] = Field(default_factory=dict)
    key: tuple[str, ...] | None = None
    where: tuple[FilterText, ...] = ()
    types: Mapping[str, ValueType] = Field(default_factory=dict)
    changed_by: str | None = None
    deleted_when: FilterText | None = None
    strategy: Literal["auto", "window", "watermark"] = "auto"
    window_max_rows: int = Field(default=5_000_000, ge=0)
    overlap: Duration = 900.0
    sweep_every: Duration = 3600.0
    delete_ceiling: int | None = Field(default=None, ge=0)
    reject_ceiling: int | None = Field(default=None, ge=0)
    allow_overlap: tuple[str, ...] = ()
    keep_properties: tuple[str, ...] = ()
    hash_key_values: bool = False
    embeddings: tuple[EmbeddingConfig, ...] = ()

    def outgoing_name(self, column: str) -> str:
        """The property a column becomes."""
        return self.rename.get(column, column)


class NodeConfig(Section):
    """`[[nodes]]`: one record for each distinct value of a column or array element."""

    label: Identifier
    table: str
    column: str
    property_name: str = Field(default="name", alias="property")
    unused: Literal["keep", "remove"] = "keep"


class LinkConfig(Section):
    """`[[links]]`: relationships of one type, from the records of one label to those of another."""

    type: Identifier
    source: str | None = None
    target: str | None = None
    foreign_key: str | None = None
    through: str | None = None
    source_columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> LinkConfig:
        problem = config_checks.link_problem(self)
        if problem:
            raise ValueError(problem)
        return self

    @property
    def source_end(self) -> End:
        """Where the link leads from, when the configuration says so."""
        return End.parse(self.source or "")

    @property
    def target_end(self) -> End:
        """Where the link leads to, when the configuration says so."""
        return End.parse(self.target or "")


class End(Section):
    """`Label.column` of a link; through a join table the label alone."""

    label: str
    column: str

    @classmethod
    def parse(cls, text: str) -> End:
        """Labels hold no dot, columns may."""
        label, _, column = text.partition(".")
        return cls(label=label, column=column)


class Entry(TableConfig):
    """Everything that becomes the records of one label: a `[[tables]]` entry, or a `[[nodes]]` entry seen as a table.

    path: its key path in the configuration. distinct: the column whose distinct values are the rows; the table is then
    `owner`. links: types of the links that lead from here, in the order of the configuration.
    """

    path: str
    owner: str
    distinct: str | None = None
    unused: Literal["keep", "remove"] = "keep"


def _table_entry(number: int, table: TableConfig) -> Entry:
    fields = {name: getattr(table, name) for name in TableConfig.model_fields}
    return Entry.model_construct(None, **fields, path=f"tables[{number}]", owner=table.name, distinct=None)


def _node_entry(number: int, node: NodeConfig, tables: tuple[TableConfig, ...]) -> Entry:
    """A table of one column, which is its key, filtered as the table that it is read from."""
    owner = next((table for table in tables if table.name == node.table), None)
    return Entry(
        name=f"{node.table}.{node.column}",
        label=node.label,
        columns=(node.column,),
        rename={node.column: node.property_name},
        key=(node.column,),
        where=owner.where if owner else (),
        deleted_when=owner.deleted_when if owner else None,
        path=f"nodes[{number}]",
        owner=node.table,
        distinct=node.column,
        unused=node.unused,
    )


class Config(Section):
    """The whole configuration; cannot be wrong in itself, only about the two ends."""

    name: str
    source: SourceConfig
    target: TargetConfig
    state: StateConfig = StateConfig()
    models: Mapping[str, ModelConfig] = Field(default_factory=dict)
    tables: tuple[TableConfig, ...] = Field(min_length=1)
    nodes: tuple[NodeConfig, ...] = ()
    links: tuple[LinkConfig, ...] = ()
    base: Path = Field(exclude=True)  # the configuration file's folder

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that becomes records: tables, then nodes, in the order of the file."""
        tables = [_table_entry(number, table) for number, table in enumerate(self.tables)]
        return (*tables, *(_node_entry(number, node, self.tables) for number, node in enumerate(self.nodes)))

    def chosen(self, names: Sequence[str]) -> list[Entry]:
        """These entries, and the nodes that are read from them; all when none is named. Raise as `table`."""
        if not names:
            return list(self.entries)
        named = [self.table(name) for name in names]
        owners = {entry.name for entry in named}
        nodes = [entry for entry in self.entries if entry.distinct and entry.owner in owners and entry not in named]
        return named + nodes

    def table(self, name: str) -> Entry:
        """An entry by name or label. Raise ConfigurationError naming the known ones."""
        for entry in self.entries:
            if name in (entry.name, entry.label):
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise ConfigurationError(f"no table {name!r} in the configuration; there are: {known}")

    @property
    def state_path(self) -> Path:
        """The SQLite file."""
        name = self.state.url.removeprefix("sqlite:///") or f"{self.name}.state.db"
        return self.base / name  # an absolute name wins

    @property
    def hash_key(self) -> Secret:
        """Where the hash key is; a file of this name is made at first use."""
        return self.state.hash_key or Secret(file=self.base / f"{self.name}.hash-key")


def load_config(path: Path, environment: Mapping[str, str]) -> Config:
    """Read and check a configuration file.

    Raise ConfigurationError with every mistake found, a line each: key path, reason, fix.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    return parse_config(given, environment, base=path.resolve().parent, stem=path.stem)


def parse_config(given: dict[str, Any], environment: Mapping[str, str], *, base: Path, stem: str) -> Config:
    """As `load_config`, from parsed TOML; relative paths are relative to `base`."""
    problems = config_checks.literal_passwords(given)
    filled = config_checks.fill_from_environment(given, environment, problems)
    try:
        config = Config.model_validate({"name": stem, "base": base, **filled}, context={"base": base})
    except ValidationError as error:
        problems += config_checks.describe_all(error, Config)
        raise _mistakes(problems) from None  # the cause would print the values given
    problems += config_checks.collisions(config)
    if problems:
        raise _mistakes(problems)
    return config


def _mistakes(problems: list[str]) -> ConfigurationError:
    head = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return ConfigurationError("\n  ".join([f"{head} in the configuration", *problems]))
