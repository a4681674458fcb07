"""What the comparisons share: servers, data, a model of twelve layers, measured commands, alternating rounds, rows."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import orjson
import psycopg
from memory import COMMAND, SECRETS_AND_TARGET, memory_mb, sandbox, secret

from byov_migrate.config import ModelConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.embed.cores import usable_cores
from byov_migrate.jobs.demo.model import demo_model
from byov_migrate.jobs.demo.postgres import running_postgres
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import EmbeddedPage, Embedder, EmbeddingPlan
from byov_migrate.jobs.ranges import PAGE_ROWS_EMBEDDED
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.records import Page, Row, Vector

KEY = "bench"
SEND_ROWS = 1000
DELETE_IDS = 1000
DEADLOCKS = 5
DEADLOCK = re.compile("deadlock|ForsetiClient|TransientError", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """A row of the table. `server`: "sandbox", "platform", or "none" when no RushDB takes part. `kept`: the bar."""

    what: str
    bar: str
    measured: str
    ratio: str
    server: str
    kept: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "kept", False: "NOT KEPT", None: "no verdict"}[self.kept]
        return f"{self.what} [{self.server}]: {self.measured}; {self.ratio or '-'} (bar {self.bar or '-'}: {verdict})"


@dataclass(frozen=True)
class Options:
    """How large."""

    full: bool
    rounds: int


def run_alone(
    description: str | None, measure: Callable[[Options], Iterable[Finding]], arguments: Sequence[str] | None = None
) -> list[Finding]:
    """The `main` of a comparison: measure, print each row as it comes, keep them all in a file if one is named."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the bars; minutes to hours")
    parser.add_argument("--rounds", type=int, default=0, help="of each pair, 3 by default")
    parser.add_argument("--out", type=Path, help="also write the rows as JSON")
    given = parser.parse_args(arguments)
    findings = []
    for found in measure(Options(given.full, given.rounds or 3)):
        # A small run of servers and processes is mostly their start: it keeps no bar, and breaks none.
        finding = found if given.full or found.server == "none" else replace(found, kept=None)
        print(finding, flush=True)
        findings.append(finding)
        if given.out:
            given.out.write_text(json.dumps([asdict(item) for item in findings], indent=1), encoding="utf-8")
    return findings


def machine() -> str:
    """This machine in a line."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    software = ", ".join(f"{name} {version(name)}" for name in ("torch", "sentence-transformers"))
    gpus = _gpus()
    return (
        f"{_processor()}, {usable_cores()} cores, {memory_gb:.0f} GB memory, {gpus or 'no GPU'}, {platform.system()},"
        f" Python {platform.python_version()}, {software}; load {os.getloadavg()[0]:.1f} at the start;"
        f" {datetime.now(UTC):%Y-%m-%d}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> str:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    names = [line.partition(": ")[2].partition(" (")[0] for line in listed.splitlines()]
    return f"{len(names)} x {names[0]}" if names else ""


# Rounds


def alternate(rounds: int, **actions: Callable[[], float]) -> dict[str, float]:
    """The median of what each action measures; they take turns, and each round begins with another one."""
    measured: dict[str, list[float]] = {name: [] for name in actions}
    names = list(actions)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            measured[name].append(actions[name]())
    return {name: statistics.median(values) for name, values in measured.items()}


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


# A RushDB


@dataclass(frozen=True)
class Server:
    """A RushDB: `kind` as the table names it."""

    url: str
    key: str = field(repr=False)
    kind: str = "sandbox"

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Bare calls, as few as possible of our own lines in between."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        with httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, trust_env=False, timeout=120) as client:
            yield client

    def make_index(self, client: httpx.Client, label: str, dimension: int) -> str:
        """An external index on `description`; its id."""
        body = {"label": label, "propertyName": "description", "sourceType": "external"}
        size = {"dimensions": dimension, "similarityFunction": "cosine"}
        return str(post(client, "/ai/indexes", {**body, **size})["data"]["id"])

    def clear(self, *labels: str) -> None:
        """Remove what a comparison left: indexes, then records and markers by ids, which is quick without an index."""
        with self.client() as client:
            for index in client.get("/ai/indexes").json()["data"]:
                if index["label"] in labels:
                    client.delete(f"/ai/indexes/{index['id']}")
            for label in labels:
                _delete_all(client, label, {})
                _delete_all(client, "ByovMigration", {"byovKey": label})


def _delete_all(client: httpx.Client, label: str, where: Mapping[str, Any]) -> None:
    while True:
        body = {"labels": [label], "where": where, "limit": DELETE_IDS}
        found = [record["__id"] for record in post(client, "/records/search", body)["data"]]
        if not found:
            return
        post(client, "/records/delete", {"labels": [label], "where": {"$id": {"$in": found}}})


def post(client: httpx.Client, path: str, body: Any) -> Any:
    """One bare call, again where RushDB's database had a deadlock; raises for anything else but success."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    for _ in range(DEADLOCKS):
        answer = client.post(path, content=content)
        if answer.status_code != httpx.codes.BAD_REQUEST or not DEADLOCK.search(answer.text):
            break
    answer.raise_for_status()
    return orjson.loads(answer.content)


def new_label() -> str:
    """A label of its own, so that a real platform can be shared."""
    return f"Bench{uuid.uuid4().hex[:10]}"


def write_bare(server: Server, label: str, vectors: Vector, writers: int, first: int = 0) -> float:
    """Seconds to create records and attach their vectors by the two routes, as fast as calls alone can do it."""
    portions = [range(start, min(start + SEND_ROWS, len(vectors))) for start in range(0, len(vectors), SEND_ROWS)]
    with server.client() as client, ThreadPoolExecutor(writers) as threads:
        index = server.make_index(client, label, vectors.shape[1])

        def write(portion: range) -> None:
            rows = [_bare_row(first + number) for number in portion]
            options = {"suggestTypes": True, "returnResult": True}
            made = post(client, "/records/import/json", {"label": label, "data": rows, "options": options})["data"]
            ids = {record["id"]: record["__id"] for record in made}
            items = [{"recordId": ids[first + number], "vector": vectors[number]} for number in portion]
            post(client, f"/ai/indexes/{index}/vectors/upsert", {"items": items})

        return seconds(lambda: list(threads.map(write, portions)))


def _bare_row(number: int) -> dict[str, Any]:
    """As many properties and bytes as a record of ours has."""
    tags = ["a", f"b{number % 9}"]
    own = {"id": number, "name": f"item number {number}", "price": number / 4, "tags": tags, "description": ""}
    digits = f"{number:032x}"
    return {
        **own,
        "descriptionAlt": "",
        "bareKey": str(number),
        "bareHash": digits,
        "bareSlice": digits[-2:],
        "bareText": f"{digits}:ready",
        "bareBatch": digits[:16],
    }


# Both ends


@dataclass(frozen=True)
class Place:
    """A folder with a PostgreSQL and a RushDB."""

    folder: Path
    dsn: str
    server: Server

    def configure(self, name: str, content: str, *, target: str = "") -> Path:
        """Write a configuration of this name; its state and its hash key are new."""
        secret(self.folder / "dsn", self.dsn)
        secret(self.folder / "key", self.server.key)
        file = self.folder / f"{name}.toml"
        head = SECRETS_AND_TARGET.format(url=self.server.url)
        file.write_text(f"{head}{target}\n{content}", encoding="utf-8")
        return file


@contextlib.contextmanager
def place(*, with_server: bool = True) -> Iterator[Place]:
    """A PostgreSQL, and the RushDB that BYOV_TEST_RUSHDB_URL and BYOV_TEST_RUSHDB_API_KEY name, else a sandbox."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="byov-bench-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user where this one is root
        dsn = stack.enter_context(running_postgres(folder / "postgres"))
        server = stack.enter_context(_server(folder)) if with_server else Server("", "", "none")
        yield Place(folder, dsn, server)


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Server]:
    if url := os.environ.get("BYOV_TEST_RUSHDB_URL"):
        key = os.environ["BYOV_TEST_RUSHDB_API_KEY"]
        yield Server(url.rstrip("/").removesuffix("/api/v1"), key, "platform")
        return
    with sandbox(folder / "rushdb") as url:
        yield Server(url, KEY)


def items(label: str, rows: int) -> str:
    """The configuration of a table of ready vectors, as `memory.make_rows` fills it."""
    return (
        f'[[tables]]\nname = "item"\nlabel = "{label}"\ncolumns = ["id", "name", "price", "tags"]\n'
        f'where = ["id <= {rows}"]\n[[tables.embeddings]]\nproperty = "description"\nvector = "embedding"\n'
    )


def make_items(dsn: str, rows: int, dimension: int) -> None:
    """Table `item` with ready vectors of random numbers, by COPY."""
    draw = np.random.default_rng(1)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create table item (id bigint primary key, name text, price float8, tags text[], embedding real[])"
        )
        copy_query = "copy item from stdin (format binary)"
        with connection.cursor() as cursor, cursor.copy(copy_query) as copy:
            copy.set_types(["int8", "text", "float8", "text[]", "float4[]"])
            for number in range(1, rows + 1):
                vector = draw.standard_normal(dimension, dtype=np.float32).tolist()
                copy.write_row((number, f"item number {number}", number / 4, ["a", f"b{number % 9}"], vector))
        connection.execute("analyze item")


# Commands


@dataclass(frozen=True)
class Ran:
    """A command that ended well: its result, and what the process took. `seconds` is wall time, loading included."""

    result: Any
    seconds: float
    cpu_s: float
    peak_mb: float

    @property
    def table(self) -> Any:
        """The first table's result."""
        return self.result["tables"][0]


def backfill(config: Path, *arguments: str) -> Ran:
    """The installed command, to its end."""
    began, peak = time.monotonic(), 0.0
    command = [COMMAND, "backfill", "-q", "--json", "-c", str(config), *arguments]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        while True:
            peak = max(peak, memory_mb(process.pid, "VmHWM"))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        took = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        out.seek(0)
        return Ran(orjson.loads(out.read()), took, usage.ru_utime + usage.ru_stime, peak)


# Texts and models


def posting_texts(count: int, seed: int = 1) -> list[str]:
    """Generated postings as the demo embeds them: 330 words in the middle, from some 40 to some 2,500."""
    from byov_migrate.jobs.demo.postings import generate

    postings = (job for job in generate(round(count * 1.1) + 10, seed).jobs if job.description)
    return list(dict.fromkeys(f"{job.title}\n{job.description}" for job in postings))[:count]


def mixed_texts(count: int, least_words: int = 5, most_words: int = 6000, seed: int = 1) -> list[str]:
    """Texts of very mixed length: as many of 5 to 50 words as of 50 to 500."""
    draw = Random(seed)  # noqa: S311 - data, not secrets
    words = list(dict.fromkeys(itertools.chain.from_iterable(text.split() for text in posting_texts(50))))
    sizes = (math.exp(draw.uniform(math.log(least_words), math.log(most_words))) for _ in range(count))
    return [" ".join(draw.choices(words, k=round(size))) for size in sizes]


def small_model() -> Path:
    """all-MiniLM-L6-v2, the demo's: 6 layers, 384 dimensions, 256 tokens."""
    return demo_model()


def large_model(folder: Path) -> Path:
    """Twelve layers, 768 dimensions, 512 tokens, random weights: as fast as a trained one of that shape."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from transformers import AutoTokenizer, BertConfig, BertModel

    path = folder / "twelve-layers"
    if (path / "modules.json").exists():
        return path
    torch.manual_seed(1)
    bert = folder / "bert"
    BertModel(BertConfig()).save_pretrained(bert)
    AutoTokenizer.from_pretrained(small_model(), local_files_only=True).save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=512)
    SentenceTransformer(modules=[transformer, Pooling(768), Normalize()], device="cpu").save_pretrained(str(path))
    return path


def model_config(path: Path, dtype: str = "auto") -> ModelConfig:
    """On the best device there is."""
    return ModelConfig(path=path, dtype=dtype)


def embedder(encoder: Any) -> Embedder:
    """The embedding stage of a table with one text."""
    table = TableConfig.model_validate(
        {
            "name": "t",
            "label": "T",
            "columns": ["id"],
            "embeddings": [{"property": "description", "text": "{body}", "model": "m"}],
        }
    )
    digests = Digests(b"benchmark of the embedding stage")
    probes = digests.probes(encoder.dimension)
    plan = EmbeddingPlan(table.embeddings[0], encoder.dimension, probes, lambda: encoder, encoder.fingerprint)
    composer = Composer(table, digests, "state", (encoder.fingerprint,))
    return Embedder(composer, [plan], Stopwatch(time.monotonic))


def text_pages(texts: Sequence[str]) -> Iterator[Page]:
    """Pages as a backfill reads them."""
    for start in range(0, len(texts), PAGE_ROWS_EMBEDDED):
        some = enumerate(texts[start : start + PAGE_ROWS_EMBEDDED], start)
        yield Page(tuple(Row(str(number), (str(number),), {"id": number}, (text,)) for number, text in some), None)


def stage_s(encoder: Any, texts: Sequence[str]) -> float:
    """Seconds of the embedding stage over these texts, nothing else at work."""
    return seconds(lambda: _drain(embedder(encoder).pages(text_pages(texts))))


def _drain(pages: Iterable[EmbeddedPage]) -> None:
    for _ in pages:
        pass
