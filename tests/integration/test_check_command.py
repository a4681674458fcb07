"""`check` as the installed command: exit code, last line, JSON, a configuration that cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
[source]
dsn = { env = "DATABASE_URL" }
[target]
url = "http://127.0.0.1:9"
api_key = { env = "RUSHDB_API_KEY" }
[[tables]]
name = "public.job"
label = "LABEL"
columns = ["id"]
"""


def run(folder: Path, label: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with neither end to be had."""
    (folder / "jobs.toml").write_text(CONFIG.replace("LABEL", label), encoding="utf-8")
    command = [sys.executable, "-c", "from byov_migrate.cli import main; main()", "check", *arguments]
    environment = {"PATH": os.environ["PATH"], "RUSHDB_API_KEY": "hidden-word"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_it_ends_with_the_worst_code_and_says_why(tmp_path: Path) -> None:
    """The report on stdout, the last line on stderr; nothing is left behind."""
    done = run(tmp_path, "Job")
    assert done.returncode == 77
    assert "2 failures, 0 warnings" in done.stdout
    assert done.stderr.strip().splitlines()[-1].startswith("byov-migrate check: 77 source: ")
    assert "hidden-word" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.toml"]


def test_json_holds_every_finding_and_the_code(tmp_path: Path) -> None:
    """For programs, by names that stay."""
    done = run(tmp_path, "Job", "--json")
    result = json.loads(done.stdout)
    assert (result["exit_code"], result["failures"]) == (77, 2)
    assert {item["name"] for item in result["findings"] if item["verdict"] == "fail"} == {"source", "target"}


def test_a_wrong_configuration_is_reported_as_findings(tmp_path: Path) -> None:
    """With the key path of each mistake."""
    done = run(tmp_path, "Job posting")
    assert done.returncode == 2
    assert "[tables[0].label]" in done.stdout
    assert done.stderr.startswith("byov-migrate check: 2 configuration: ")
