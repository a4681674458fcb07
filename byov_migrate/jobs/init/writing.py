"""The proposed configuration as TOML with comments. Holds names alone: no value of any row, no secret. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from byov_migrate.config import SourceConfig
from byov_migrate.config_checks import RESERVED_NAMES, RESERVED_PREFIXES
from byov_migrate.jobs.documents import VECTOR_NOTICE
from byov_migrate.jobs.init.joining import NOT_CHOSEN, Link, Node
from byov_migrate.jobs.init.proposal import ProposedEmbedding, ProposedTable

WIDTH: Final = 100
MODEL: Final = "text"
MOST_NAMES: Final = 40


@dataclass(frozen=True, slots=True)
class Proposal:
    """All that is written down. `others`: tables that are not chosen -> how many rows, or why not."""

    database: str
    version: str
    source: SourceConfig
    tables: tuple[ProposedTable, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    others: Mapping[str, str]

    @property
    def needs_model(self) -> bool:
        """Whether texts are to be embedded."""
        return any(item.vector is None for table in self.tables for item in table.embeddings)


def write(proposal: Proposal) -> str:
    """The configuration, ending with a line break."""
    parts = [_head(proposal), _ends(proposal.source)]
    if proposal.needs_model:
        parts.append(_model())
    parts += ["\n".join(_table(table)) for table in proposal.tables]
    parts += ["\n".join(_node(node)) for node in proposal.nodes]
    parts += ["\n".join(_link(link)) for link in proposal.links if not link.problem]
    parts += ["\n".join(_unlinked(proposal.links))] if any(link.problem for link in proposal.links) else []
    parts += ["\n".join(_others(proposal.others))] if proposal.others else []
    return "\n\n".join(parts) + "\n"


def quoted(text: str) -> str:
    """A TOML string on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else quoted(text)


def _shown(name: str) -> str:
    """A name inside a comment: a line break in it must not end the comment."""
    return name if re.fullmatch(r"[\w.]+", name) else quoted(name)


def _comment(text: str, indent: str = "# ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _head(proposal: Proposal) -> str:
    edit = f"Set models.{MODEL}.path below, then run" if proposal.needs_model else "Run"
    lines = _comment(
        f"Made by byov-migrate init from the database {_shown(proposal.database)} (PostgreSQL {proposal.version})."
        f" {edit}: byov-migrate check, byov-migrate plan."
    )
    lines += _comment("What is listed in columns leaves for RushDB, with the key and the vectors; all else stays.")
    lines += _comment(VECTOR_NOTICE)
    return "\n".join(lines)


def _ends(source: SourceConfig) -> str:
    lines = ["[source]", 'dsn = { env = "DATABASE_URL" }']
    lines += [f"tls = {quoted(source.tls)}"] if source.tls != "verify-full" else []
    lines += [f"ca_file = {quoted(str(source.ca_file))}"] if source.ca_file else []
    lines += ["", "[target]", 'url = { env = "RUSHDB_URL", default = "https://api.rushdb.com" }']
    return "\n".join([*lines, 'api_key = { env = "RUSHDB_API_KEY" }'])


def _model() -> str:
    return "\n".join(
        [
            f"[models.{MODEL}]",
            'path = "models/EDIT-ME"                  # a sentence-transformers folder; to look at one: model show',
            '# document_prompt = "passage: "          # if the model was trained with prompts, both',
            '# query_prompt = "query: "',
        ]
    )


def _table(table: ProposedTable) -> Iterator[str]:
    yield f"# {_shown(table.name)}, {rows_text(table.rows)}; key: {', '.join(map(_shown, table.key))}"
    yield "[[tables]]"
    yield f"name = {quoted(table.name)}"
    yield f"label = {quoted(table.label)}"
    yield from _list("columns", table.columns)
    if table.rename:
        yield f"rename = {_inline(table.rename)}"
    if table.types:
        yield "# as PostgreSQL's text, since their values have no exact form in RushDB"
        yield f"types = {_inline(table.types)}"
    if table.hash_key_values:
        yield "# the key looks personal: RushDB gets a keyed hash of it"
        yield "hash_key_values = true"
    yield from _times(table)
    for column, why in table.left_out.items():
        yield from _comment(f"left out: {_shown(column)}: {why}")
    for embedding in table.embeddings:
        yield ""
        yield from _embedding(embedding, table)


def _times(table: ProposedTable) -> Iterator[str]:
    if table.changed_by is not None:
        column, has_zone = table.changed_by
        if has_zone:
            yield f"changed_by = {quoted(column)}"
        else:
            yield f"# changed_by = {quoted(column)}          # only if it holds UTC: its type has no time zone"
    if table.deleted_when is not None:
        yield f"deleted_when = {quoted(table.deleted_when)}"


def _embedding(embedding: ProposedEmbedding, table: ProposedTable) -> Iterator[str]:
    if embedding.vector is None and table.withheld:
        yield from _comment(f"stays on this machine: {', '.join(map(_shown, table.withheld))}")
    elif embedding.vector is None:
        yield from _comment("no long text was found here; these columns leave as properties all the same")
    yield "[[tables.embeddings]]"
    yield f"property = {quoted(embedding.property_name)}"
    if embedding.vector is not None:
        yield f"vector = {quoted(embedding.vector)}"
    if embedding.template is not None:
        shown = "                    # shown beside hits, never sent" if embedding.vector else ""
        yield f"text = {quoted(embedding.template)}{shown}"
    if embedding.vector is None:
        yield f"model = {quoted(MODEL)}"
    else:
        yield "# model = NAME                           # a [models.NAME], to embed what is searched for"


def _list(name: str, items: Sequence[str]) -> Iterator[str]:
    one_line = f"{name} = [{', '.join(map(quoted, items))}]"
    if len(one_line) <= WIDTH:
        yield one_line
        return
    yield f"{name} = ["
    yield from (f"    {quoted(item)}," for item in items)
    yield "]"


def _inline(items: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{_key(name)} = {quoted(value)}" for name, value in items.items()) + " }"


def rows_text(rows: int) -> str:
    """For people."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _node(node: Node) -> Iterator[str]:
    yield f"# a record for each value of {_shown(node.column)}"
    yield "[[nodes]]"
    yield f"label = {quoted(node.label)}"
    yield f"table = {quoted(node.table)}"
    yield f"column = {quoted(node.column)}"
    yield f"property = {quoted(node.property_name)}"


def _link(link: Link) -> Iterator[str]:
    yield "[[links]]"
    yield f"type = {quoted(link.type)}"
    if link.foreign_key is not None:
        yield f"foreign_key = {_text_or_key(link)}"
        return
    yield f"source = {quoted(link.source)}"
    yield f"target = {quoted(link.target)}"
    if link.through is not None:
        yield f"through = {quoted(link.through)}"
        yield from _properties(link.properties)


def _text_or_key(link: Link) -> str:
    """The constraint's name alone does not tell where it leads."""
    return f"{quoted(link.foreign_key or '')}   # {link.source} to {link.target}"


def _properties(columns: Sequence[str]) -> Iterator[str]:
    """Of the joining table: left to a person, since each link is then a request of its own."""
    fit = [name for name in columns if name not in RESERVED_NAMES and not name.startswith(RESERVED_PREFIXES)]
    if fit:
        yield f"# properties = [{', '.join(map(quoted, fit))}]   # of the link; costs a request a link"


def _unlinked(links: Sequence[Link]) -> Iterator[str]:
    away = dict.fromkeys(f"{link.source} to {_shown(link.target)}" for link in links if link.problem == NOT_CHOSEN)
    if away:
        yield from _comment(f"Foreign keys that lead to tables not chosen here: {', '.join(away)}.")
    for link in links:
        if link.problem and link.problem != NOT_CHOSEN:
            yield from _comment(f"Not linked: {link.source} to {link.target}: {link.problem}.")


def _others(others: Mapping[str, str]) -> Iterator[str]:
    yield "# Not chosen; to have one proposed: byov-migrate init --table NAME"
    for name, about in list(others.items())[:MOST_NAMES]:
        yield f"#   {_shown(name)}: {about}"
    if len(others) > MOST_NAMES:
        yield f"#   and {len(others) - MOST_NAMES:,} more"
