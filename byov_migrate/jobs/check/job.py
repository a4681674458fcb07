"""Everything that a run would stumble over, found before it. Writes nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.carriers import as_stored_or_given
from byov_migrate.jobs.check.clocks import look_at_clocks
from byov_migrate.jobs.check.findings import CheckResult, Finding, Speaker, result_of
from byov_migrate.jobs.check.model_side import look_at_fit, look_at_models
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.check.source_side import look_at_source
from byov_migrate.jobs.check.state_side import look_at_scope, look_at_state
from byov_migrate.jobs.check.target_side import look_at_target
from byov_migrate.jobs.surroundings import Surroundings

_configuration = Speaker("configuration")


def check(config: Config, *, surroundings: Surroundings | None = None) -> CheckResult:
    """Look at both ends, the models and the state. Never raises for what it finds; nothing stops it at the first.

    A later part uses what an earlier one has learned: the files of models come before the labels' indexes, the state
    before the question whose label it is, and last what the state was written with.
    """
    around, seen = surroundings or Surroundings(), Seen()
    config = as_stored_or_given(config, around.clock)
    models = list(look_at_models(config, seen))
    source = list(Speaker("source").told("source", partial(look_at_source, config, around, seen)))
    fit = list(look_at_fit(config, seen))
    state = list(look_at_state(config, around, seen))
    target = list(Speaker("target").told("target", partial(look_at_target, config, around, seen)))
    last = [*look_at_scope(config, seen), *look_at_clocks(config, around, seen)]
    return result_of([*_configured(config), *source, *target, *state, *models, *fit, *last])


def _configured(config: Config) -> Iterator[Finding]:
    counts = {"tables": len(config.tables), "nodes": len(config.nodes), "links": len(config.links)}
    shown = [f"{name}: {count}" for name, count in counts.items() if count]
    yield _configuration.ok("configuration", f"read; {', '.join(shown)}, models: {len(config.models)}")


def unreadable(error: ConfigurationError) -> CheckResult:
    """The result where the configuration itself is wrong: every mistake in it, and nothing else was looked at."""
    return result_of(list(_configuration.mistakes("configuration", error)))
