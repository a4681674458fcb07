"""Formats, links and paths in the documents: what they name is there, and all that is there is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byov_migrate.config import EmbeddingConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.jobs.documents import Composer, leaving
from byov_migrate.records import Embedded, Row
from byov_migrate.source import values, vectors
from byov_migrate.source.values import Unfit
from byov_migrate.target.provision import Marker
from scripts.config_schema import section_of
from tests.documents import DOCUMENTS, NAMES, ROOT, prose, read
from tests.unit.link_shapes import carried


def written_properties() -> set[str]:
    """Names of all that is written beside the columns, P standing for the embedding's property."""
    embedding = EmbeddingConfig(property="P", vector="embedding")
    table = TableConfig(name="public.job", label="Job", columns=("id",), embeddings=(embedding,))
    links = (carried("TYPE"),)
    composer = Composer(table, Digests(b"k" * 32), "state", (None,), links)
    vector = np.ones(3, dtype=np.float32)
    document = composer.document(Row("1", ("1",), {"id": 1}, (vector,), refs={"TYPE": ("2",)}))
    batch = composer.batch([Embedded(document, (vector,), ((0.5, 0.5, 0.5),))], ())
    properties = set(batch.rows[0].document.properties)
    assert properties == {item.property_name for item in leaving(table, links)}
    return properties - {"id"}


def first_cells(heading: str) -> set[str]:
    """What stands in code marks in the first column of a table in docs/formats.md."""
    return set(re.findall(r"(?m)^\| `([^`]+)` \|", section_of(read("docs/formats.md"), heading)))


def test_every_property_of_a_record_is_documented_and_no_other() -> None:
    """Who queries RushDB finds each name explained."""
    assert first_cells("Properties of a record") == written_properties()


def test_every_property_of_the_marker_is_documented_and_no_other() -> None:
    """As above, for the record that says whose label it is."""
    assert first_cells("The marker") == set(Marker("Job", "state", "source", 1).properties())


@pytest.mark.parametrize("name", NAMES)
def test_a_property_of_ours_that_is_mentioned_exists(name: str) -> None:
    """A name that is no property sends a reader searching."""
    known = written_properties() | set(Marker("Job", "state", "source", 1).properties())
    for mentioned in re.findall(r"`(byov[A-Z]\w*)`", read(name)):
        assert mentioned in known, mentioned


def unfit_codes() -> set[str]:
    """Every code with which reading can reject a row."""
    holders: list[Mapping[str, Any]] = [vars(values), vars(vectors)]
    fixed = {value.code for holder in holders for value in holder.values() if isinstance(value, Unfit)}
    return fixed | {"type", "no-text"}


def test_every_code_of_a_rejected_row_is_documented_and_no_other() -> None:
    """The code is what a person searches for."""
    section = section_of(read("docs/postgresql-types.md"), "Why a row is rejected")
    assert set(re.findall(r"(?m)^\| `([^`]+)` \|", section)) == unfit_codes()


def test_every_type_with_a_form_of_its_own_is_documented() -> None:
    """A type added to the program and not to the table would be taken for rejected."""
    table = prose(read("docs/postgresql-types.md"))
    spelled = {"int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision"}
    spelled |= {"bool": "boolean", "bpchar": "char(n)", "char": '"char"'}
    for name in values._CONVERTERS:
        assert f"`{spelled.get(name, name)}`" in table, name


def anchors(path: Path) -> set[str]:
    """Of a document's headings, as the forges make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_no_relative_link_is_dead(path: Path) -> None:
    """The file is there, and so is the heading behind #."""
    for target in re.findall(r"\]\(([^)]+)\)", prose(path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_document_is_reached_from_the_readme() -> None:
    """A document that nothing links to is not found."""
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", prose(path.read_text(encoding="utf-8")))
        ahead += [(path.parent / link).resolve() for link in links if "://" not in link]
    assert reached == set(DOCUMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_no_document_names_a_place_on_somebodys_machine(name: str) -> None:
    """Paths of a checkout or of a home."""
    assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp|Users)\b", read(name))


def test_every_contract_test_that_is_named_exists() -> None:
    """What is relied on is held by a test, under that name, in the file that is linked."""
    rows = re.findall(r"\]\(\.\./(tests/contract/\w+\.py)\) ([^|\n]+)", read("docs/rushdb.md"))
    assert rows
    for file, named in rows:
        for test in re.findall(r"`(test_\w+)`", named):
            assert re.search(rf"def {test}\b", read(file)), test
