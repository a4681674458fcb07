"""The proposed configuration as text: whatever names a database has, it is TOML and says what is meant."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.config import SourceConfig, parse_config
from byov_migrate.jobs.init.joining import NOT_CHOSEN, Link, Node
from byov_migrate.jobs.init.proposal import ProposedEmbedding, ProposedTable
from byov_migrate.jobs.init.writing import Proposal, write

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
SOURCE = SourceConfig.model_validate({"dsn": {"env": "DATABASE_URL"}})


def table(name: str = "public.job", columns: tuple[str, ...] = ("id",), **changed: object) -> ProposedTable:
    """An entry of these columns, each renamed."""
    plain: dict[str, object] = {
        "label": "Job",
        "rows": 7,
        "rename": {column: f"p{number}" for number, column in enumerate(columns)},
        "types": {columns[0]: "text"},
        "embeddings": (ProposedEmbedding("description", vector="embedding"),),
        "left_out": {},
        "withheld": (),
        "key": columns[:1],
        "hash_key_values": False,
        "changed_by": None,
        "deleted_when": None,
        "nodes": (),
    }
    return ProposedTable(name=name, columns=columns, **{**plain, **changed})  # type: ignore[arg-type]


def proposal(
    *tables: ProposedTable,
    nodes: tuple[Node, ...] = (),
    links: tuple[Link, ...] = (),
    others: Mapping[str, str] | None = None,
) -> Proposal:
    """A proposal for a database of an odd name."""
    return Proposal('d"\n[b]', "18.6", SOURCE, tables, nodes, links, others or {})


@given(NAMES, st.lists(NAMES, min_size=1, max_size=4, unique=True), NAMES, NAMES)
def test_odd_names_come_back_as_they_were(name: str, columns: list[str], other: str, why: str) -> None:
    """Quotes, line breaks and control characters neither break the file nor end a comment."""
    made = table(name, tuple(columns), left_out={other: "looks personal"}, withheld=(other,))
    links = (
        Link("TO", "Job", "Job", foreign_key=name),
        Link("BY", f"Job.{other}", "Value.name"),
        Link("VIA", "Job", "Value", through=name, properties=(other, why)),
        Link("NOT", "Job", other, problem=NOT_CHOSEN),
    )
    text = write(proposal(made, nodes=(Node("Value", name, other),), links=links, others={why: "1 row"}))
    [read] = tomllib.loads(text)["tables"]
    assert tomllib.loads(text)["nodes"] == [{"label": "Value", "table": name, "column": other, "property": "name"}]
    assert tomllib.loads(text)["links"] == [
        {"type": "TO", "foreign_key": name},
        {"type": "BY", "source": f"Job.{other}", "target": "Value.name"},
        {"type": "VIA", "source": "Job", "target": "Value", "through": name},
    ]
    assert (read["name"], read["columns"]) == (name, columns)
    assert read["rename"] == dict(made.rename)
    assert set(tomllib.loads(text)) == {"source", "target", "tables", "nodes", "links"}


def test_without_a_text_there_is_no_model() -> None:
    """Ready vectors need none, so nothing is left to edit."""
    assert "EDIT-ME" not in write(proposal(table()))
    embedding = ProposedEmbedding("description", template="{title}\n{body}")
    text = write(proposal(table(embeddings=(embedding,), withheld=("body",))))
    given_ = tomllib.loads(text)
    assert given_["models"] == {"text": {"path": "models/EDIT-ME"}}
    assert given_["tables"][0]["embeddings"][0]["text"] == "{title}\n{body}"
    assert "# stays on this machine: body" in text


def test_what_is_written_is_a_configuration() -> None:
    """With every line that can appear."""
    made = table(
        columns=tuple(f"a_long_column_name_{number}" for number in range(12)),
        hash_key_values=True,
        changed_by=("updated_at", True),
        deleted_when="deleted_at is not null",
        left_out={"email": "looks personal"},
    )
    links = (
        Link("PARENT", "Job", "Job", "public.job.k"),
        Link("KIND", "Job.a_long_column_name_1", "Kind.name"),
        Link("OTHER", "Job", "Job", through="public.both", properties=("since",)),
        Link("AWAY", "Job", "public.other", problem=NOT_CHOSEN),
        Link("ODD", "Job", "Job", problem="its name holds a dot"),
    )
    nodes = (Node("Kind", "public.job", "a_long_column_name_1"),)
    others = {f"public.t{number}": "1 row" for number in range(60)}
    text = write(proposal(made, nodes=nodes, links=links, others=others))
    config = parse_config(tomllib.loads(text), {}, base=Path(), stem="jobs")
    assert config.tables[0].changed_by == "updated_at"
    assert config.target.url == "https://api.rushdb.com"
    assert "and 20 more" in text
    assert [(link.type, link.foreign_key, link.through) for link in config.links] == [
        ("PARENT", "public.job.k", None),
        ("KIND", None, None),
        ("OTHER", None, "public.both"),
    ]
    assert "Foreign keys that lead to tables not chosen here: Job to public.other." in text
    assert "# Not linked: Job to Job: its name holds a dot." in text
    taken = parse_config(tomllib.loads(text.replace("# properties", "properties")), {}, base=Path(), stem="jobs")
    assert taken.links[2].properties == ("since",)


def test_tls_that_was_asked_for_stands_in_the_file() -> None:
    """Else `check` would fail where `init` succeeded."""
    source = SourceConfig.model_validate({"dsn": {"env": "DATABASE_URL"}, "tls": "verify-ca", "ca_file": "/a b.pem"})
    read = tomllib.loads(write(Proposal("d", "18.6", source, (table(),), (), (), {})))["source"]
    assert (read["tls"], read["ca_file"]) == ("verify-ca", "/a b.pem")
