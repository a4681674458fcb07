"""Progress without a confirmed write is impossible: only one module makes a Receipt, only receipts move the state."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import byov_migrate

ROOT = Path(byov_migrate.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def calls(path: Path) -> Iterator[str]:
    """Names of everything that a module calls, without the objects before them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def name_of(path: Path) -> str:
    """A module's name below the package."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def test_only_delivery_makes_a_receipt() -> None:
    """Whoever else made one could mark rows as done that never arrived."""
    assert [name_of(path) for path in MODULES if "Receipt" in calls(path)] == ["target/delivery"]


def test_nobody_makes_a_receipt_by_another_name_or_by_copying() -> None:
    """`replace(receipt, ...)` or an alias would get around the rule."""
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert "Receipt as" not in source, path
        assert "replace(receipt" not in source, path


def written_tables(path: Path) -> Iterator[str]:
    """Names of the state's tables that a module inserts into, updates or deletes from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("insert", "update", "delete", "replacing"):
            yield from (getattr(argument, "attr", "") for argument in node.args)


def test_only_the_journal_writes_the_ledger_and_the_positions() -> None:
    """Everybody else asks questions; but for a lost state that is made again, and what is forgotten as a whole."""
    proved = {"ledger", "vector", "key_range", "intent", "reject"}
    writers = {name_of(path) for path in MODULES if proved & set(written_tables(path))}
    assert writers == {"state/journal", "state/adopting", "state/forgetting"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_opens_a_connection_of_its_own(path: Path) -> None:
    """The HTTP client has one home, and so has the database driver: what they send can be read in one place."""
    allowed = {"httpx": {"target/http", "target/faults"}}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.partition(".")[0]
            assert root not in ("requests", "urllib3", "aiohttp"), name
            assert root not in allowed or name_of(path) in allowed[root], name
