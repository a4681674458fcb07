"""A whole backfill against its slowest stage: `python benchmarks/slow_target.py [--full] [--delay 1.0]`.

The target is a small server that remembers what it is sent, answers each request after a set delay, and needs next to
none of our cores. Beside the backfill stands the embedding stage alone, over the same texts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import orjson
import psycopg
import rig

from byov_migrate.config import load_config
from byov_migrate.embed import load_encoder
from byov_migrate.jobs.backfill import backfill
from byov_migrate.jobs.surroundings import Surroundings

DELAY_S = 1.0
TEXTS = """\
[models.small]
path = "{model}"
{dtype}
[[tables]]
name = "post"
label = "{label}"
columns = ["id"]
[[tables.embeddings]]
property = "description"
text = "{{body}}"
model = "small"
"""


class Memory:
    """The answers: as much of a RushDB as a backfill asks for."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.indexes: list[dict[str, Any]] = []
        self.vectors: dict[str, int] = {}

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The content of an answer, envelope included."""
        if path.endswith(("/tokens/current", "/settings")):
            return {"data": {"level": "write", "selfHosted": True}}
        if path.endswith("/import/json"):
            return {"data": self.create(body["label"], body["data"])}
        if path.endswith("/upsert"):
            self.vectors[path.split("/")[-3]] += len(body["items"])
            return {"data": {"updated": len(body["items"])}}
        if path.endswith("/records/search"):
            return self.find(body)
        if path.endswith("/stats"):
            return {"data": {"indexedRecords": self.vectors[path.split("/")[-2]]}}
        return {"data": self.make_index(body) if method == "POST" else self.indexes}

    def make_index(self, body: Any) -> Any:
        """Create one."""
        index = {**body, "id": str(len(self.indexes)), "projectId": "bench"}
        self.indexes.append(index)
        self.vectors[index["id"]] = 0
        return index

    def create(self, label: str, rows: Sequence[Any]) -> Any:
        """Create records; the ids tell nothing."""
        known = self.records.setdefault(label, [])
        made = [{**row, "__id": f"{label}-{len(known) + number}"} for number, row in enumerate(rows)]
        known += made
        return made

    def find(self, body: Any) -> Any:
        """By existence, by value, or counted by value."""
        records = self.records.get(body["labels"][0], [])
        for name, wanted in body["where"].items():
            records = [record for record in records if _fits(record.get(name), wanted)]
        if "groupBy" in body:
            [name] = body["where"]
            counts: dict[str, int] = {}
            for record in records:
                counts[record[name]] = counts.get(record[name], 0) + 1
            return {"data": [{name: value, "n": count} for value, count in counts.items()], "total": len(counts)}
        skip = body.get("skip", 0)
        return {"data": records[skip : skip + body["limit"]], "total": len(records)}


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return value is not None if "$exists" in wanted else value in wanted["$in"]
    return bool(value == wanted)


async def serve(delay_s: float) -> None:
    """Answer on a free port, which is printed, until it is ended."""
    memory = Memory()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await _exchange(reader, writer, memory.answer, lambda: asyncio.sleep(delay_s))

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[str, str, Any], Any],
    wait: Callable[[], Awaitable[None]],
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    content = orjson.dumps(answer(method, path, orjson.loads(raw) if raw else None))
    await wait()
    size = f"content-type: application/json\r\ncontent-length: {len(content)}"
    writer.write(f"HTTP/1.1 200 OK\r\n{size}\r\n\r\n".encode() + content)
    await writer.drain()


@contextlib.contextmanager
def running(delay_s: float) -> Iterator[str]:
    """The server in a process of its own; yields its URL."""
    command = [sys.executable, __file__, "--serve", "--delay", str(delay_s)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}" if server.stdout else ""
    finally:
        server.terminate()
        server.wait()


def fill(dsn: str, texts: Sequence[str]) -> None:
    """Table `post`."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create table post (id bigint primary key, body text)")
        with cursor.copy("copy post from stdin") as copy:
            for number, text in enumerate(texts, 1):
                copy.write_row((number, text))


def compare(delay_s: float, texts: Sequence[str], rounds: int) -> rig.Finding:
    """Both in one process, in turn; the model is loaded before the clock starts, as the stopwatch of a run has it."""
    model, inner = rig.small_model(), []
    encoder = load_encoder(rig.model_config(model))
    rig.stage_s(encoder, texts[:20])
    with rig.place(with_server=False) as place, running(delay_s) as url:
        fill(place.dsn, texts)
        target = rig.Place(place.folder, place.dsn, rig.Server(url, rig.KEY, "none"))

        def whole() -> float:
            label = rig.new_label()
            config = load_config(target.configure(label, TEXTS.format(model=model, dtype="", label=label)), {})
            began = time.monotonic()
            [table] = backfill(config, surroundings=Surroundings()).tables
            inner.append((time.monotonic() - began, table.busy))
            return table.seconds

        took = rig.alternate(rounds, whole=whole, stage=lambda: rig.stage_s(encoder, texts))
    ratio = took["whole"] / took["stage"]
    busy = ", ".join(f"{stage} {share:.0%}" for stage, share in inner[-1][1].items())
    return rig.Finding(
        f"whole backfill of {len(texts):,} postings (MiniLM, {encoder.dtype}) against its embedding stage alone, a"
        f" target that answers after {delay_s:g} s",
        "<= 1.05 x",
        f"{took['whole']:.1f} against {took['stage']:.1f} s (busy: {busy}); with loading and the first questions"
        f" {inner[-1][0]:.1f} s",
        f"{ratio:.3f} x",
        "stand-in",
        ratio <= 1.05,
    )


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """The longer it runs, the less the last requests count, which nothing can overlap."""
    yield compare(DELAY_S, rig.posting_texts(10_000 if options.full else 250), options.rounds)


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--serve", action="store_true")
        parser.add_argument("--delay", type=float, default=DELAY_S)
        asyncio.run(serve(parser.parse_args().delay))
    else:
        main()
