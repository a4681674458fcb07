"""The demo: both servers in one folder, postings, backfill, proof, searches. All that it leaves behind works later."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from byov_migrate import sandbox
from byov_migrate.config import Config, load_config
from byov_migrate.errors import ConfigurationError, PersonNeeded
from byov_migrate.filters import parse_filter
from byov_migrate.jobs.backfill import BackfillResult, backfill
from byov_migrate.jobs.demo.model import demo_model
from byov_migrate.jobs.demo.postgres import running_postgres
from byov_migrate.jobs.demo.postings import create_jobs_schema, fill
from byov_migrate.jobs.search import SearchResult, search
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.verify import Verification, verify

POSTINGS = 2000
"""What two cores with bfloat16 embed in about 45 seconds, and without it in 80."""
SEARCHES = (
    ("night shift nurse, children's ward", "location ~ Berlin"),
    ("golang payments", "Company.employees >= 200"),
)
"""Text and filter; the second filter leads across a link, to what no posting holds itself."""
HITS = 3
_MARK = ".byov-demo"

_CONFIGURATION = """\
# Written by byov-migrate demo, anew at each start: the ports may change.
name = "demo"

[source]
dsn = {{ file = "dsn" }}

[target]
url = "{url}"
api_key = {{ file = "rushdb.key" }}

[models.demo]
path = "{model}"

[[tables]]
name = "public.job"
label = "Job"
columns = ["id", "title", "company", "location", "salary_min", "salary_max", "skills", "remote"]
rename = {{ salary_min = "salaryMin", salary_max = "salaryMax" }}

[[tables.embeddings]]
property = "description"
text = "{{title}}\\n{{description}}"
model = "demo"
"""
GRAPH = """
# The graph: two more tables, a record for each skill, and what leads from one to another.
[[tables]]
name = "public.company"
label = "Company"
columns = ["id", "name", "city", "sector", "employees"]

[[tables]]
name = "public.department"
label = "Department"
columns = ["id", "name"]

[[nodes]]
label = "Skill"
table = "public.job"
column = "skills"

[[links]]
type = "POSTED_BY"
foreign_key = "public.job.job_company_id_fkey"

[[links]]
type = "IN_DEPARTMENT"
foreign_key = "public.job.job_department_id_fkey"

[[links]]
type = "PART_OF"
foreign_key = "public.department.department_company_id_fkey"

[[links]]
type = "REQUIRES"
source = "Job.skills"
target = "Skill.name"
"""


@dataclass(frozen=True, slots=True)
class DemoSearch:
    """A search, and what was asked."""

    query: str
    where: str
    result: SearchResult


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did. `next_commands` work as they stand, after the demo has ended."""

    backfill: BackfillResult
    verification: Verification
    searches: tuple[DemoSearch, ...]
    next_commands: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The proof's, else the backfill's."""
        return self.verification.exit_code or self.backfill.exit_code


def demo(
    folder: Path,
    *,
    program: str,
    postings: int = POSTINGS,
    fresh: bool = False,
    surroundings: Surroundings | None = None,
) -> DemoResult:
    """Run the whole job in `folder`. A second run finds everything done; `fresh` starts over.

    program: how the command was called, for the commands it proposes.
    """
    around = surroundings or Surroundings()
    if fresh:
        _remove(folder)
    with demo_servers(folder, around, postings) as config:
        moved = backfill(config, surroundings=around)
        proved = verify(config, surroundings=around)
        searches = tuple(_searched(config, query, where, around) for query, where in SEARCHES)
    return DemoResult(moved, proved, searches, _next_commands(program, folder, searches[0].result))


def _searched(config: Config, query: str, where: str, around: Surroundings) -> DemoSearch:
    found = search(config, query, where=[parse_filter(where)], limit=HITS, surroundings=around)
    return DemoSearch(query, where, found)


def _next_commands(program: str, folder: Path, found: SearchResult) -> tuple[str, ...]:
    program = shlex.quote(program)
    place = "" if folder == Path("demo") else f" --folder {shlex.quote(str(folder))}"
    key = found.hits[0].key if found.hits else "1"
    return (
        f"{program} demo search \"golang payments\" --where 'salaryMin >= 80000'{place}",
        f"{program} demo search \"working with children\" --where 'Skill.name = classroom management'{place}",
        f"{program} demo show {key}{place}",
        f"{program} status -c {shlex.quote(str(folder / 'demo.toml'))}",
    )


@contextlib.contextmanager
def demo_servers(folder: Path, around: Surroundings, postings: int | None = None) -> Iterator[Config]:
    """Start both servers over a folder and yield the configuration that connects them.

    postings: fill the tables where they are empty; None requires an earlier demo.
    """
    home = _home(folder, create=postings is not None)
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(running_postgres(home / "postgres"))
        key = _secret_file(home / "rushdb.key", secrets.token_urlsafe(24))
        _secret_file(home / "dsn", dsn, anew=True)
        if postings is not None:
            create_jobs_schema(dsn)
            filled = fill(dsn, postings)
            around.log("ready", part="PostgreSQL", **asdict(filled))
        server = stack.enter_context(sandbox.running(home / "rushdb", key, _port(home / "rushdb.port")))
        around.log("ready", part=sandbox.BANNER, at=server.url)
        file = home / "demo.toml"
        file.write_text(_CONFIGURATION.format(url=server.url, model=demo_model()) + GRAPH, encoding="utf-8")
        yield load_config(file, around.environment)


def _home(folder: Path, *, create: bool) -> Path:
    mark = folder / _MARK
    if not mark.exists():
        if not create:
            raise ConfigurationError(f"there is no demo in {folder}", next_step="byov-migrate demo")
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"the folder {folder} holds other things; name another with --folder")
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return folder.resolve()


def _remove(folder: Path) -> None:
    """Remove a demo's folder, and nothing that is none."""
    if (folder / _MARK).exists():
        shutil.rmtree(folder)


def _secret_file(path: Path, content: str, *, anew: bool = False) -> str:
    """Write a file of mode 0600 unless it is there, and return what it holds."""
    if anew or not path.exists():
        path.touch(mode=0o600, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _port(file: Path) -> int:
    """The port of the last start when it is still free, else a free one; remembered."""
    wanted = int(file.read_text(encoding="ascii")) if file.exists() else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise PersonNeeded(
                f"port {wanted} of this demo's sandbox is taken, perhaps by a demo that still runs; end it, or start"
                " over with: byov-migrate demo --fresh"
            ) from None
        port = int(probe.getsockname()[1])
    file.write_text(str(port), encoding="ascii")
    return port
