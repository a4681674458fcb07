"""A whole backfill against the tutorial's loop: `python benchmarks/tutorial.py [--full]`.

The loop as RushDB's tutorial on vectors of one's own writes it: pages of 100 by OFFSET, one after the other, `encode`
with its defaults, the vectors inside the records. What cannot be done as it is written there (its record format is not
what the server takes) is done in the way the server takes. Same server, same texts, same label size for both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import rig
from slow_target import TEXTS, fill

PAGE = 100
WRITERS = 4


class Loop:
    """The tutorial's migration: its model is loaded once, before the clock starts."""

    def __init__(self, model: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(str(model), local_files_only=True)
        self._model.encode(["a text"])

    def run(self, dsn: str, server: rig.Server, label: str) -> float:
        """Seconds to migrate table `post`."""
        return rig.seconds(lambda: self._migrate(dsn, server, label))

    def _migrate(self, dsn: str, server: rig.Server, label: str) -> None:
        offset = 0
        with psycopg.connect(dsn) as connection, server.client() as client:
            while True:
                query = "SELECT id, body FROM post ORDER BY id LIMIT %s OFFSET %s"
                rows = connection.execute(query, (PAGE, offset)).fetchall()
                if not rows:
                    return
                vectors = self._model.encode([body for _, body in rows])
                data = [_record(number, vector) for (number, _), vector in zip(rows, vectors, strict=True)]
                options = {"suggestTypes": True, "returnResult": True}
                rig.post(client, "/records/import/json", {"label": label, "data": data, "options": options})
                offset += PAGE


def _record(number: int, vector: Any) -> dict[str, Any]:
    vectors = [{"propertyName": "description", "vector": vector}]
    return {"id": number, "description": "", "$vectors": vectors}


def compare(
    place: rig.Place, name: str, model: Path, held: int, bar: float, rounds: int, texts: int
) -> Iterator[rig.Finding]:
    """Labels that hold as many records with vectors before either begins."""
    from byov_migrate.embed import load_encoder

    dimension, loop = load_encoder(rig.model_config(model)).dimension, Loop(model)
    filling = np.random.default_rng(2).standard_normal((held, dimension), dtype=np.float32)

    def prepared() -> str:
        label = rig.new_label()
        rig.write_bare(place.server, label, filling, WRITERS, first=10_000_000)
        return label

    def whole(dtype: str) -> float:
        label = prepared()
        config = place.configure(label, TEXTS.format(model=model, dtype=f'dtype = "{dtype}"', label=label))
        took = float(rig.backfill(config).table["seconds"])
        place.server.clear(label)
        return took

    def tutorial() -> float:
        label = prepared()
        took = loop.run(place.dsn, place.server, label)
        place.server.clear(label)
        return took

    took = rig.alternate(rounds, auto=lambda: whole("auto"), float32=lambda: whole("float32"), tutorial=tutorial)
    for dtype in ("auto", "float32"):
        ratio = took["tutorial"] / took[dtype]
        is_judged = place.server.kind == "platform" and dtype == "auto"
        yield rig.Finding(
            f"whole backfill ({name}, dtype {dtype}) against the tutorial's loop, {texts:,} postings, label holding"
            f" {held:,}",
            f">= {bar:g} x" if dtype == "auto" else "",
            f"{took[dtype]:.1f} against {took['tutorial']:.1f} s, model loaded before",
            f"{ratio:.1f} x",
            place.server.kind,
            ratio >= bar if is_judged else None,
        )


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """MiniLM; in full also twelve layers of 768, with fewer postings."""
    held = 25_000 if options.full else 500
    with rig.place() as place, tempfile.TemporaryDirectory() as folder:
        texts = rig.posting_texts(1000 if options.full else 100)
        fill(place.dsn, texts)
        yield from compare(place, "MiniLM", rig.small_model(), held, 5, options.rounds, len(texts))
        if not options.full:
            return
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            connection.execute("delete from post where id > 300")
        model = rig.large_model(Path(folder))
        yield from compare(place, "12 layers of 768", model, held, 2, options.rounds, 300)


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    main()
