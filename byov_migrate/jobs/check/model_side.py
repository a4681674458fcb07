"""Whether the models can be used: their files, and the device they would run on. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

from byov_migrate.config import Config, ModelConfig
from byov_migrate.errors import ConfigurationError, PersonNeeded
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen


def look_at_models(config: Config, seen: Seen) -> Iterator[Finding]:
    """Every [models.NAME]."""
    for name, model in config.models.items():
        speaker = Speaker(f"model {name}")
        yield from speaker.told("model-files", partial(_files, name, model, seen, speaker))
        yield from speaker.told("model-device", partial(_device, model, speaker))


def _files(name: str, model: ModelConfig, seen: Seen, speaker: Speaker) -> Iterator[Finding]:
    from byov_migrate.embed import identify
    from byov_migrate.embed.model_facts import effective_window, read_facts
    from byov_migrate.embed.model_files import judge

    facts = read_facts(judge(model.path))
    window = effective_window(model, facts)
    seen.models[name] = identity = identify(model)
    size = f"{identity.dimension} dimensions, reads {window} tokens"
    yield speaker.ok("model-files", f"{size}, safetensors, fingerprint {identity.fingerprint[:12]}")
    if facts.prompts and not (model.document_prompt or model.query_prompt):
        what = f"the folder declares prompts ({', '.join(facts.prompts)}) and the configuration repeats none"
        fix = "set document_prompt and query_prompt as the model was trained; to read them: byov-migrate model show"
        yield speaker.warn("model-prompts", what, fix, f"models.{name}")


def _device(model: ModelConfig, speaker: Speaker) -> Iterator[Finding]:
    from byov_migrate.embed.device import choose_placement, read_hardware

    if find_spec("sentence_transformers") is None or find_spec("torch") is None:
        raise PersonNeeded(
            "the libraries that run a model are not installed", next_step="pip install 'byov-migrate[model]'"
        )
    placement = choose_placement(model, read_hardware(model.device))
    yield speaker.ok("model-device", f"would run on {placement.device} in {placement.dtype}")


def look_at_fit(config: Config, seen: Seen) -> Iterator[Finding]:
    """Models that embed queries for vectors that are there already."""
    for i, table in enumerate(config.tables):
        for j, embedding in enumerate(table.embeddings):
            dimension = seen.dimensions.get((table.name, embedding.carrier))
            model = seen.models.get(embedding.model or "")
            if embedding.vector is None or dimension is None or model is None or model.dimension == dimension:
                continue
            what = f"vectors of {model.dimension} dimensions, and column {embedding.vector} holds some of {dimension}"
            error = ConfigurationError(f"makes {what}", next_step="name the model that made them, or none")
            yield Speaker(f"model {embedding.model}").fail("model-fit", error, f"tables[{i}].embeddings[{j}].model")
