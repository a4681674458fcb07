"""What the package offers to programs, and what it does not do behind their back."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import byov_migrate


def test_the_exported_names_are_exactly_these() -> None:
    """A name that appears by accident has to be kept for ever."""
    names = ["QueryEncoder", "backfill", "load_config", "plan", "search", "status", "sync", "verify"]
    assert sorted(byov_migrate.__all__) == names


@pytest.mark.parametrize("name", byov_migrate.__all__)
def test_every_exported_name_is_there_and_explained(name: str) -> None:
    """Also the ones that are imported only when they are asked for."""
    exported = getattr(byov_migrate, name)
    assert callable(exported)
    assert inspect.getdoc(exported)
    assert exported.__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = byov_migrate.nothing_like_it


@pytest.mark.parametrize("statement", ["import byov_migrate", "from byov_migrate import backfill, load_config, status"])
def test_importing_the_library_sets_nothing_up(statement: str) -> None:
    """No logging, no signal handler, no model: a notebook or a scheduler has its own."""
    script = f"""
import logging, signal, sys
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
{statement}
assert not logging.getLogger().handlers
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
heavy = {{"torch", "sentence_transformers", "transformers", "starlette", "uvicorn", "typer"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
