"""Writing ready vectors: `python benchmarks/writing.py [--full]`.

Rows of 768 into an empty RushDB against bare calls of the same two routes with as many writers, in the same sitting;
what it takes of our own processor; how that grows with the table; and the tutorial's way, vectors inside the records,
into a label that holds many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import rig

from byov_migrate.config import TargetConfig
from byov_migrate.records import Vector

DIMENSION = 768
CPU_S_PER_1000 = 0.125
WRITERS = TargetConfig.model_fields["writers"].default
INLINE_ROWS = 25


def against_bare_calls(place: rig.Place, rows: int, rounds: int) -> Iterator[rig.Finding]:
    """The command and bare calls, each into labels of its own."""
    ran: list[rig.Ran] = []

    def ours() -> float:
        label = rig.new_label()
        ran.append(rig.backfill(place.configure(label, rig.items(label, rows))))
        place.server.clear(label)
        return ran[-1].seconds

    def bare() -> float:
        label = rig.new_label()
        took = rig.write_bare(place.server, label, random_vectors(rows), WRITERS)
        place.server.clear(label)
        return took

    took = rig.alternate(rounds, ours=ours, bare=bare)
    ratio, cpu_s = took["ours"] / took["bare"], sorted(item.cpu_s for item in ran)[len(ran) // 2]
    what = f"{rows:,} ready vectors of {DIMENSION}, {WRITERS} writers"
    inside = sorted(item.table["seconds"] for item in ran)[len(ran) // 2]
    busy = ", ".join(f"{stage} {share:.0%}" for stage, share in ran[-1].table["busy"].items())
    yield rig.Finding(
        f"{what}, against bare calls of the same two routes",
        "<= 1.05 x",
        f"{took['ours']:.1f} s from start to end ({inside:.1f} s of them moving rows; busy: {busy})"
        f" against {took['bare']:.1f} s",
        f"{ratio:.2f} x",
        place.server.kind,
        ratio <= 1.05,
    )
    per_1000 = cpu_s / rows * 1000
    yield rig.Finding(
        f"{what}: own processor time",
        "<= 25 s for 200,000, that is 0.125 s per 1,000",
        f"{cpu_s:.1f} s, start included; peak memory {max(item.peak_mb for item in ran):.0f} MB",
        f"{per_1000:.3f} s per 1,000",
        place.server.kind,
        per_1000 <= CPU_S_PER_1000,
    )


def random_vectors(rows: int) -> Vector:
    """As `rig.make_items` draws them."""
    return np.random.default_rng(1).standard_normal((rows, DIMENSION), dtype=np.float32)


def growth(place: rig.Place, sizes: Sequence[int]) -> Iterator[rig.Finding]:
    """Own processor seconds per 1,000 rows by size; what a run takes for one row is taken off."""
    took = {}
    for rows in (1, *sizes):
        label = rig.new_label()
        took[rows] = rig.backfill(place.configure(label, rig.items(label, rows)))
        place.server.clear(label)
    pace = {rows: (took[rows].cpu_s - took[1].cpu_s) / rows * 1000 for rows in sizes}
    ratio = pace[sizes[-1]] / pace[sizes[0]]
    yield rig.Finding(
        f"own processor time per 1,000 ready vectors of {DIMENSION}, at {sizes[-1]:,} rows over {sizes[0]:,}",
        "<= 1.1 x",
        ", ".join(f"{rows:,}: {pace[rows]:.3f} s" for rows in sizes) + f"; {took[1].cpu_s:.2f} s for a single row",
        f"{ratio:.2f} x",
        place.server.kind,
        ratio <= 1.1,
    )
    middle, largest = sizes[-2:]
    grown = took[largest].peak_mb - took[middle].peak_mb
    yield rig.Finding(
        f"peak memory, ready vectors of {DIMENSION}, at {largest:,} rows over {middle:,}",
        "<= 20 MB",
        ", ".join(f"{rows:,}: {took[rows].peak_mb:.0f} MB" for rows in sizes),
        f"{grown:+.0f} MB",
        place.server.kind,
        grown <= 20,
    )


def against_inline(place: rig.Place, held: int, rows: int, calls: int) -> Iterator[rig.Finding]:
    """Seconds per 1,000 rows with `held` vectors in the label: the command's next rows, and the tutorial's calls."""
    label = rig.new_label()
    config = place.configure(label, rig.items(label, held + rows))
    rig.backfill(config, "--limit", str(held))
    ours = rig.backfill(config).table["seconds"] / rows * 1000
    inline = rig.alternate(calls, inline=lambda: inline_s(place.server, label))["inline"] / INLINE_ROWS * 1000
    place.server.clear(label)
    yield rig.Finding(
        f"ready vectors against the tutorial's inline way, label holding {held:,}",
        ">= 100 x",
        f"{ours:.2f} against {inline:.1f} s per 1,000 rows",
        f"{inline / ours:.0f} x",
        place.server.kind,
        inline / ours >= 100 if place.server.kind == "platform" else None,
    )


def inline_s(server: rig.Server, label: str) -> float:
    """Seconds of one request that creates records with their vectors inside."""
    vectors = np.random.default_rng().standard_normal((INLINE_ROWS, DIMENSION), dtype=np.float32)
    rows = [
        {"title": f"posting {n}", "description": "", "$vectors": [{"propertyName": "description", "vector": vector}]}
        for n, vector in enumerate(vectors)
    ]
    body = {"label": label, "data": rows, "options": {"suggestTypes": True, "returnResult": True}}
    with server.client() as client:
        return rig.seconds(lambda: rig.post(client, "/records/import/json", body))


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """All of them, in one place."""
    sizes = (10_000, 50_000, 200_000) if options.full else (1000, 2000, 4000)
    with rig.place() as place:
        held, more = (100_000, 10_000) if options.full else (2000, 1000)
        rig.make_items(place.dsn, max(sizes[-1], held + more), DIMENSION)
        yield from against_bare_calls(place, sizes[-1], options.rounds)
        yield from growth(place, sizes)
        yield from against_inline(place, held, more, options.rounds)


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    main()
