"""Whether RushDB can be written to: the way there, the key, and for each label whose it is and which index it has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from byov_migrate.config import Config
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.labels import look_at_label
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.target import provision
from byov_migrate.target.wire import Index, Server

_target = Speaker("target")
_NAMES = {"platform": "a RushDB platform", "cloud": "RushDB Cloud", "sandbox": "the sandbox, not RushDB,"}


def look_at_target(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    """Each request is sent once: a target that is busy is told, not waited for."""
    yield _tls(config)
    wire = provision.open_wire(config.target, lambda: config.target.api_key.read(around.environment))
    with contextlib.closing(wire):
        server = wire.server()
        seen.target_answers = True
        indexes = wire.indexes()
        seen.project = next((index.project for index in indexes if index.project), None)
        yield _answered(server, indexes)
        yield from _target.told("target-key", partial(_key, server))
        yield _budget(config, server)
        for entry in config.entries:
            speaker = Speaker(f"label {entry.label}")
            yield from speaker.told("label", partial(look_at_label, wire, config, entry, indexes, seen, speaker))


def _tls(config: Config) -> Finding:
    target = config.target
    if target.tls == "insecure":
        what = "certificates are not checked, so the key and the data can be read on the way"
        return _target.warn("target-tls", what, 'take out tls = "insecure"', "target.tls")
    if target.url.startswith("http:"):
        return _target.ok("target-tls", "plain http, which does not leave this machine")
    return _target.ok(
        "target-tls",
        f"TLS; the server proves its certificate and name by {target.ca_file or 'the built-in authorities'}",
    )


def _answered(server: Server, indexes: Sequence[Index]) -> Finding:
    project = next((f"; project {index.project[:8]}" for index in indexes if index.project), "")
    text = f"{_NAMES[server.kind]} answers by REST; it does not tell its version{project}"
    if server.kind == "cloud":
        return _target.warn("target", f"{text}; this program has not been tried on Cloud")
    return _target.ok("target", text)


def _key(server: Server) -> Iterator[Finding]:
    provision.require_writer(server)
    yield _target.ok("target-key", f"the key is of level {server.key_level or 'not told'}")


def _budget(config: Config, server: Server) -> Finding:
    budget_s = provision.request_budget_s(config.target, server)
    origin = "configured" if config.target.request_budget else "announced" if server.request_budget_s else "assumed"
    return _target.ok("target-budget", f"a request may go on for {budget_s:g} s after we have left ({origin})")
