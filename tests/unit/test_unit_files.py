"""The files for cron, systemd and Kubernetes: what they call exists, and no exit code is forgotten."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config import Config, parse_config
from tests.documents import ROOT, read
from tests.unit.test_docs_commands import SIGNALS, exit_codes, ours, parse

CODES = sorted(exit_codes() | SIGNALS)
SILENT = {0, 75}
STOPPED = {75, *SIGNALS}
"""Nothing has failed: the next run continues."""
ROUTE = "PATH=/opt/byov-migrate/.venv/bin:"
SAID = "what the run said"


def cron_lines() -> list[str]:
    """What stands in the crontab, without comments."""
    lines = read("configs/crontab").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def cron_jobs() -> list[str]:
    """The commands, as cron gives them to the shell."""
    return [line.split(maxsplit=5)[5] for line in cron_lines() if re.match(r"[*\d]", line)]


def cron_environment() -> dict[str, str]:
    """The variables, as cron sets them."""
    return dict(line.split("=", 1) for line in cron_lines() if re.match(r"[A-Z]+=", line))


def mail_of(job: str, folder: Path, code: int) -> str:
    """What cron would send when byov-migrate ends with this code."""
    program = folder / "byov-migrate"
    program.write_text(f'#!/bin/sh\necho "{SAID} $#" >&2\nexit {code}\n', encoding="utf-8")
    program.chmod(0o700)
    environment = {**cron_environment(), "PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", job], capture_output=True, text=True, env=environment, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("code", [0, *CODES])
def test_cron_mails_what_a_sync_said_unless_it_passes_by_itself(tmp_path: Path, code: int) -> None:
    """A mail each quarter of an hour during an outage is no longer read; a code without one is never heard of."""
    sync, _ = cron_jobs()
    assert (SAID in mail_of(sync, tmp_path, code)) == (code not in SILENT)


def test_cron_mails_when_the_age_is_too_great(tmp_path: Path) -> None:
    """The alarm for a 75 that does not pass: here 75 is what is mailed."""
    _, status = cron_jobs()
    assert SAID in mail_of(status, tmp_path, 75)


def test_cron_leaves_every_job_line_whole() -> None:
    """A % would end the command, and its PATH has to lead to the program."""
    assert not any("%" in job for job in cron_jobs())
    assert any(line.startswith(ROUTE) for line in cron_lines())


def unit(name: str) -> configparser.ConfigParser:
    """A systemd unit; a line that goes on is one line."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(re.sub(r"\\\n\s*", "", read(f"configs/{name}")))
    return parser


def test_systemd_takes_for_success_what_passes_or_was_stopped() -> None:
    """All other codes fail the unit, which is what somebody is told of."""
    assert {int(code) for code in unit("byov-migrate.service")["Service"]["SuccessExitStatus"].split()} == STOPPED


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    """A key it does not know is ignored with a warning that nobody sees."""
    program = Path(sys.executable)
    for name in ("byov-migrate.service", "byov-migrate.timer"):
        text = read(f"configs/{name}").replace("/opt/byov-migrate/.venv/bin/byov-migrate", str(program))
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "byov-migrate" in line]) == (0, [])


def manifests() -> dict[str, Any]:
    """The Kubernetes objects, by kind."""
    yaml: Any = pytest.importorskip("yaml")
    return {item["kind"]: item for item in yaml.safe_load_all(read("configs/kubernetes-cronjob.yaml"))}


def kubernetes_job() -> Any:
    """The specification of the jobs that the CronJob makes."""
    return manifests()["CronJob"]["spec"]["jobTemplate"]["spec"]


def pod_of(job: Any) -> Any:
    """The specification of its pods."""
    return job["template"]["spec"]


def action_of(code: int) -> str | None:
    """What becomes of a pod that ended with this code: the first rule that fits decides."""
    for rule in kubernetes_job()["podFailurePolicy"]["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", ()):
            action: str = rule["action"]
            return action
    return None


@pytest.mark.parametrize("code", CODES)
def test_kubernetes_is_told_what_each_exit_code_means(code: int) -> None:
    """A code without a rule would be tried again or fail the job, as it happens."""
    assert action_of(code) == ("Ignore" if code in STOPPED else "FailJob")


def test_kubernetes_accepts_the_rules() -> None:
    """The rules need pods that are not restarted, and lists of codes that rise."""
    job = kubernetes_job()
    assert pod_of(job)["restartPolicy"] == "Never"
    [container] = pod_of(job)["containers"]
    for codes in (rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule):
        assert codes["values"] == sorted(set(codes["values"]))
        assert codes["containerName"] == container["name"]


def test_kubernetes_mounts_what_the_configuration_names() -> None:
    """The configuration is one, and its state, its secrets and its own place are given to the pod."""
    found = manifests()
    given = tomllib.loads(found["ConfigMap"]["data"]["jobs.toml"])
    config = parse_config(given, {}, base=Path("/config"), stem="jobs")
    assert isinstance(config, Config)
    [container] = pod_of(kubernetes_job())["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {str(config.state_path.parent), str(config.base)} <= set(mounts)
    assert {volume["name"] for volume in pod_of(kubernetes_job())["volumes"]} == set(mounts.values())
    variables = {variable["name"] for variable in container["env"]}
    assert {config.source.dsn.env, config.target.api_key.env} <= variables


@pytest.mark.parametrize("name", ["crontab", "byov-migrate.service"])
def test_every_exit_code_is_named_in_the_comments(name: str) -> None:
    """Who reads the file at night finds the code."""
    comments = " ".join(line for line in read(f"configs/{name}").splitlines() if line.startswith("#"))
    assert {str(code) for code in CODES} <= set(re.findall(r"\b\d+\b", comments))


def command_lines() -> list[list[str]]:
    """What the files start, in words."""
    started = shlex.split(unit("byov-migrate.service")["Service"]["ExecStart"])
    [container] = pod_of(kubernetes_job())["containers"]
    in_cron = [words for job in cron_jobs() for words in ours(job)]
    return [*in_cron, ["byov-migrate", *started[1:]], [*container["command"], *container["args"]]]


def test_every_command_line_is_one() -> None:
    """An option that was renamed would be noticed by nobody before the next night."""
    commands = command_lines()
    assert [words[1] for words in commands] == ["sync", "status", "sync", "sync"]
    for program, *words in commands:
        assert program == "byov-migrate"
        parse(words)


def test_a_stop_has_more_time_than_a_request() -> None:
    """60 s and the 10 s on top that a request may take: a kill is safe, but the next run has to look."""
    from byov_migrate.target.provision import ANSWER_MARGIN_S, DEFAULT_BUDGET_S

    longest_s = DEFAULT_BUDGET_S + ANSWER_MARGIN_S
    assert float(unit("byov-migrate.service")["Service"]["TimeoutStopSec"]) > longest_s
    assert pod_of(kubernetes_job())["terminationGracePeriodSeconds"] > longest_s


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").iterdir()))
def test_every_file_is_linked_from_the_documents(name: str) -> None:
    """A file that nothing names is not found."""
    texts = [read(document) for document in ("README.md", "docs/configuration.md", "docs/operations.md")]
    assert any(f"configs/{name}" in text for text in texts)
