from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from byov_migrate.embed.confined import _environment
from byov_migrate.embed.convert import convert_directory
from byov_migrate.embed.convert_samples import TEXTS, lowest_cosine, sample_texts
from byov_migrate.embed.publishing import publish
from byov_migrate.errors import ConfigurationError, Interrupted
from tests.models import change_json, make_tiny_model


def _older(path: Path) -> Path:
    """A directory whose weights look like a pickle by name; nobody reads them in these tests."""
    make_tiny_model(path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    return path


def test_a_destination_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Not even an empty directory or a dangling link is taken: it may be somebody's."""
    source = _older(tmp_path / "old")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in ("empty", "dangling"):
        with pytest.raises(ConfigurationError, match="is there already"):
            convert_directory(source, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_destination_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """A rename would silently replace an empty directory that another program has just made."""
    (tmp_path / "made").mkdir()
    (tmp_path / "new").mkdir()
    with pytest.raises(ConfigurationError, match="appeared meanwhile"):
        publish(tmp_path / "made", tmp_path / "new")


def test_places_that_are_not_there_are_named(tmp_path: Path) -> None:
    """A misspelt path says which one, before anything is read."""
    with pytest.raises(ConfigurationError, match="absent: there is no such directory"):
        convert_directory(tmp_path / "absent", tmp_path / "new")
    with pytest.raises(ConfigurationError, match=r"there is no directory .*/nowhere"):
        convert_directory(_older(tmp_path / "old"), tmp_path / "nowhere" / "new")


def test_a_directory_without_pickles_needs_no_conversion(tmp_path: Path) -> None:
    """The next step is to use it; a spare pickle beside safetensors is none that the loader reads."""
    source = make_tiny_model(tmp_path / "good")
    (source / "pytorch_model.bin").write_bytes(b"spare")
    with pytest.raises(ConfigurationError, match="no pickles to convert"):
        convert_directory(source, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_hostile_directory_is_refused_by_its_own_name(tmp_path: Path) -> None:
    """What `judge` refuses is refused here, before any pickle is read, and no temporary path stands in the message."""
    source = _older(tmp_path / "old")
    change_json(source / "config.json", auto_map={"AutoModel": "own.Model"})
    with pytest.raises(ConfigurationError) as caught:
        convert_directory(source, tmp_path / "new")
    assert str(caught.value).startswith(f"model directory {source}: config.json has auto_map")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_link_that_leads_outside_is_not_copied(tmp_path: Path) -> None:
    """A directory from elsewhere must not carry a file of this machine into the copy."""
    source = _older(tmp_path / "old")
    (tmp_path / "secret.json").write_text("{}")
    (source / "vocab.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ConfigurationError, match=r"vocab\.json is a link that leads outside"):
        convert_directory(source, tmp_path / "new")


def test_a_pickle_that_git_did_not_fetch_is_named(tmp_path: Path) -> None:
    """The pointer is no broken pickle, and the fix is another one."""
    source = _older(tmp_path / "old")
    (source / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(ConfigurationError, match="git-lfs pointer"):
        convert_directory(source, tmp_path / "new")


def test_a_stop_before_anything_was_read_leaves_nothing(tmp_path: Path) -> None:
    """The temporary folder goes with it."""
    with pytest.raises(Interrupted):
        convert_directory(_older(tmp_path / "old"), tmp_path / "new", is_stopped=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_the_child_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle that gets through must find no key in its environment."""
    monkeypatch.setenv("RUSHDB_API_KEY", "generated-for-tests")
    monkeypatch.setenv("DATABASE_URL", "generated-for-tests")
    given = _environment(tmp_path)
    assert "generated-for-tests" not in given.values()
    assert given["HF_HUB_OFFLINE"] == given["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"


def test_the_texts_are_the_same_each_time_and_differ_from_each_other() -> None:
    """Two processes embed them; equal texts would compare one vector many times."""
    texts = sample_texts()
    assert texts == sample_texts()
    assert len({*texts}) == len(texts) == TEXTS
    assert max(len(text.split()) for text in texts) > 200


def test_the_lowest_cosine_is_that_of_the_worst_row() -> None:
    """One wrong vector must not drown in the good ones."""
    first = np.eye(3, dtype=np.float32)
    second = first.copy()
    second[2] = (0, 0.6, 0.8)
    assert lowest_cosine(first, second * 5) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "second",
    [
        np.zeros((2, 2)),  # a refused text
        np.array([[1, 0], [np.nan, 1]]),  # broken arithmetic
        np.ones((2, 3)),  # another dimension
        np.ones((3, 2)),  # other texts
    ],
)
def test_vectors_that_cannot_be_compared_never_pass(second: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """NaN is below no limit and must not be taken for equal."""
    cosine = lowest_cosine(np.ones((2, 2), dtype=np.float32), second.astype(np.float32))
    assert np.isnan(cosine)
