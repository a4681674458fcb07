"""Every comparison, and the table of docs/performance.md: `make bench`, `make bench BENCH="--full"`.

Small by default, on a sandbox, in some minutes: it shows that the harness works, and little more. In full the sizes are
those of the bars, and it takes hours: with `--results FOLDER` the findings of each comparison are kept there, and the
next call measures what is missing and puts the table together. With BYOV_TEST_RUSHDB_URL and BYOV_TEST_RUSHDB_API_KEY
set, the comparisons that write go to that RushDB, into labels of their own that are removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rig

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
COMPARISONS = ("embedding", "reading", "writing", "slow_target", "tutorial", "commands")
BEGIN, END = "<!-- begin of the measured part: written by make bench -->", "<!-- end of the measured part -->"


def run(name: str, arguments: Sequence[str], results: Path) -> list[rig.Finding]:
    """One comparison in a process of its own: what another has loaded or broken does not count."""
    whole, begun = results / f"{name}.json", results / f"{name}.begun.json"
    if whole.exists():
        return _findings(whole)
    begun.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(begun), *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        return [*_findings(begun), rig.Finding(f"{name}: ended {code} before its end", "", "", "", "", kept=False)]
    begun.rename(whole)
    return _findings(whole)


def _findings(file: Path) -> list[rig.Finding]:
    return [rig.Finding(**item) for item in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []


def table(findings: Sequence[rig.Finding]) -> str:
    """Markdown."""
    lines = ["| what | bar | measured | ratio | server | bar kept |", "| --- | --- | --- | --- | --- | --- |"]
    verdicts = {True: "yes", False: "**no**", None: ""}
    for item in findings:
        cells = (item.what, item.bar, item.measured, item.ratio, item.server, verdicts[item.kept])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def rewritten(document: str, content: str) -> str:
    """The document with another measured part."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the bars; hours")
    parser.add_argument("--rounds", type=int, default=0, help="of each pair")
    parser.add_argument("--only", choices=COMPARISONS, nargs="+", default=COMPARISONS)
    parser.add_argument("--results", type=Path, help="keep findings here; measure only what is not here yet")
    parser.add_argument("--keep", action="store_true", help="print only; leave docs/performance.md as it is")
    given = parser.parse_args()
    server = "a real platform" if os.environ.get("BYOV_TEST_RUSHDB_URL") else "the sandbox"
    head = f"{'Full' if given.full else 'Small'} sizes, {server}, {rig.machine()}."
    arguments = ["--full"] * given.full + (["--rounds", str(given.rounds)] if given.rounds else [])
    with tempfile.TemporaryDirectory() as temporary:
        results = given.results or Path(temporary)
        results.mkdir(parents=True, exist_ok=True)
        findings = [finding for name in given.only for finding in run(name, arguments, results)]
    content = f"{head}\n\n{table(findings)}"
    print(f"\n{content}")
    if not given.keep and set(given.only) == set(COMPARISONS):
        DOCUMENT.write_text(rewritten(DOCUMENT.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
