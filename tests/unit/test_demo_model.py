from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from byov_migrate.errors import PersonNeeded
from byov_migrate.jobs.demo import model

if TYPE_CHECKING:
    from pathlib import Path


def test_altered_weights_are_not_loaded(tmp_path: Path) -> None:
    """A package with one release and an unknown author is trusted by its content only."""
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(PersonNeeded, match=r"model\.safetensors is not the published") as caught:
        model.checked_model(tmp_path)
    assert "byov-migrate[sandbox]" in str(caught.value.next_step)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """The message says which file was looked for."""
    with pytest.raises(PersonNeeded, match=r"cannot read .*model\.safetensors: No such file"):
        model.checked_model(tmp_path)


def test_a_missing_package_is_named_as_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name in the message is the one that an installer understands."""
    monkeypatch.setattr(model, "PACKAGE", "no_such_model")
    with pytest.raises(PersonNeeded, match="package no-such-model") as caught:
        model.demo_model()
    assert str(caught.value.next_step).startswith("pip install")
