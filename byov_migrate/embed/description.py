"""What `model show` tells about a configured model, without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from byov_migrate.config import ModelConfig
from byov_migrate.embed.device import Placement, choose_placement, read_hardware
from byov_migrate.embed.fingerprint import fingerprint_model
from byov_migrate.embed.model_facts import effective_window, read_facts
from byov_migrate.embed.model_files import judge
from byov_migrate.errors import Fatal


@dataclass(frozen=True)
class ModelDescription:
    """A model as configured.

    refused: why it cannot be used, each finding with its fix; what could not be read is None or empty then.
    dimension: of a vector; window: tokens read, special ones included. document_prompt, query_prompt: as configured;
    declared_prompts: in the directory, used only if the configuration repeats them. used, ignored: paths relative to
    the directory.
    """

    path: str
    refused: tuple[tuple[str, str | None], ...] = ()
    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    dimension: int | None = None
    window: int | None = None
    fingerprint: str | None = None
    document_prompt: str = ""
    query_prompt: str = ""
    declared_prompts: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    batch_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What the files of a model say: the dimension of its vectors, and the fingerprint."""

    dimension: int
    fingerprint: str


def identify(config: ModelConfig) -> ModelIdentity:
    """Judge and hash the files, without any of the libraries that run them. Raise as `judge` and `effective_window`."""
    files = judge(config.path)
    facts = read_facts(files)
    window = effective_window(config, facts)
    return ModelIdentity(facts.dimension, fingerprint_model(files, config, dimension=facts.dimension, window=window))


def describe(config: ModelConfig) -> ModelDescription:
    """Judge the directory and look at the hardware. Never raises for what it finds; torch only if there is a GPU."""
    refused: list[tuple[str, str | None]] = []
    placement = _placement(config, refused)
    description = ModelDescription(
        path=str(config.path),
        document_prompt=config.document_prompt,
        query_prompt=config.query_prompt,
        device=placement.device if placement else None,
        dtype=placement.dtype if placement else None,
        batch_tokens=placement.batch_tokens if placement else None,
    )
    try:
        description = _with_files(config, description)
    except Fatal as error:
        refused.append((str(error), error.next_step))
    return replace(description, refused=tuple(refused))


def _with_files(config: ModelConfig, description: ModelDescription) -> ModelDescription:
    """The description with what the directory says. Raise as `judge` and `effective_window` do."""
    files = judge(config.path)
    facts = read_facts(files)
    window = effective_window(config, facts)
    return replace(
        description,
        used=tuple(path.as_posix() for path in files.used),
        ignored=files.ignored,
        dimension=facts.dimension,
        window=window,
        fingerprint=fingerprint_model(files, config, dimension=facts.dimension, window=window),
        declared_prompts=facts.prompts,
    )


def _placement(config: ModelConfig, refused: list[tuple[str, str | None]]) -> Placement | None:
    try:
        return choose_placement(config, read_hardware(config.device))
    except Fatal as error:
        refused.append((str(error), error.next_step))
    except ImportError:
        refused.append(("the libraries that run a model are not installed", "pip install 'byov-migrate[model]'"))
    return None
