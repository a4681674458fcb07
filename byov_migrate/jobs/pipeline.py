"""The one loop: pages in, receipts out. `backfill` and `sync` differ in the pages they put in.

    pages ──► prefetch ──► embed ──► prefetch ──► batches ──► writers ──► confirm ──► state
    reader's thread        embedder's thread                 a few threads      this thread

Only this thread touches the journal. Every batch is recorded before it is sent; positions move only when all batches
before them are proved: every 20 batches, every 60 seconds, and sooner where proving is cheap.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from byov_migrate.errors import ConsentNeeded, Interrupted, MigrationError
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import EmbeddedPage, Embedder
from byov_migrate.jobs.prefetch import prefetch
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.records import Batch, Embedded, Page, Position, Receipt, Rejected, Way
from byov_migrate.state import State
from byov_migrate.target.delivery import Accepted, Delivery

CHECKPOINT_BATCHES = 20
CHECKPOINT_S = 60.0
SOONEST_CHECKPOINT_S = 3.0
CONFIRMING_SHARE = 0.04
"""Of the time; a checkpoint comes the sooner, the less the last one took."""
FLUSH_S = 10.0
"""A batch is sent when it is full, or this long after its first row: slow embedding must not hold back progress."""
PREFETCHED = 2


@dataclass
class Totals:
    """What a run has done so far. Counts confirmed rows only, but for what embedding saw."""

    rows: int = 0
    updated: int = 0  # of the rows: records that were there before
    vectors: int = 0
    no_text: int = 0
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    refused: int = 0  # texts that have no vector by the model that searches do not use; their rows are stored
    rejected: int = 0
    rejected_new: int = 0


@dataclass
class _Pending:
    """Rows waiting to be a batch, and the positions they reach."""

    since: float
    rows: list[Embedded] = field(default_factory=list)
    covers: dict[int, Position] = field(default_factory=dict)


@dataclass(frozen=True)
class TableFlow:
    """What the pipeline needs to know of one table."""

    name: str
    label: str
    properties: tuple[str, ...]  # the embeddings', in order
    total: int
    confirmed_before: int  # of the total, by earlier runs
    batch_rows: int
    writers: int
    reject_ceiling: int


class Pipeline:
    """Moves the pages of one table. Use once."""

    def __init__(
        self,
        flow: TableFlow,
        composer: Composer,
        embedder: Embedder,
        delivery: Delivery,
        state: State,
        surroundings: Surroundings,
        stopwatch: Stopwatch,
    ) -> None:
        self._flow = flow
        self._composer = composer
        self._embedder = embedder
        self._delivery = delivery
        self._state = state
        self._around = surroundings
        self._stopwatch = stopwatch
        self._totals = Totals()
        self._flying: list[Future[Accepted]] = []
        self._rejected: list[Rejected] = []
        self._checkpoint_at = surroundings.monotonic()
        self._checkpoint_took_s = 0.0

    def run(self, pages: Iterable[Page]) -> Totals:
        """Move every page, confirm everything, and return what was done.

        Raise Interrupted after a stop, when what was in flight is settled; ConsentNeeded at the reject ceiling.
        """
        self._report()
        read = self._stopwatch_reading(pages)
        with (
            ThreadPoolExecutor(self._flow.writers, thread_name_prefix="byov-write") as writers,
            prefetch(read, PREFETCHED, "read") as ahead,
            prefetch(self._embedder.pages(ahead), PREFETCHED, "embed") as embedded,
        ):
            try:
                pending = self._fill(embedded, writers)
                if not self._around.stop.is_set():
                    self._send_all(pending, writers)
            except MigrationError:
                with contextlib.suppress(MigrationError):  # what flies is worth settling whatever else has failed
                    self._checkpoint()
                raise
            self._checkpoint()
        if self._around.stop.is_set():
            raise Interrupted
        self._require_consent()  # the target may have refused rows since the last page was read
        return self._totals

    def _stopwatch_reading(self, pages: Iterable[Page]) -> Iterator[Page]:
        iterator = iter(pages)
        while not self._around.stop.is_set():
            with self._stopwatch.busy("read"):
                page = next(iterator, None)
            if page is None:
                return
            yield page

    def _fill(self, pages: Iterator[EmbeddedPage], writers: ThreadPoolExecutor) -> dict[Way, _Pending]:
        """Cut the stream into batches, each of one way, and send them; return what is left over."""
        pending: dict[Way, _Pending] = {"create": _Pending(self._around.monotonic())}
        for page in pages:
            if self._around.stop.is_set():
                break
            self._note(page)
            for item in page.rows:
                if self._around.stop.is_set():
                    return pending  # a page holds many batches, more than a grace period may bear
                if isinstance(item, Embedded):
                    self._add(pending, item, writers)
            if page.position is not None:
                pending["create"].covers[page.position.range_id] = page.position
            if self._is_due(pending):
                self._send_all(pending, writers)
        return pending

    def _add(self, pending: dict[Way, _Pending], item: Embedded, writers: ThreadPoolExecutor) -> None:
        way = item.document.way
        waiting = pending.setdefault(way, _Pending(self._around.monotonic()))
        if len(waiting.rows) >= self._flow.batch_rows:
            waiting = pending[way] = self._send(waiting, writers)
        waiting.rows.append(item)

    def _is_due(self, pending: dict[Way, _Pending]) -> bool:
        now = self._around.monotonic()
        return any(len(item.rows) >= self._flow.batch_rows or now - item.since >= FLUSH_S for item in pending.values())

    def _send_all(self, pending: dict[Way, _Pending], writers: ThreadPoolExecutor) -> None:
        """A position is covered by the batch of new records, so that one goes last."""
        for way in sorted(pending, key=lambda way: way == "create"):
            pending[way] = self._send(pending[way], writers)

    def _note(self, page: EmbeddedPage) -> None:
        self._totals.texts += page.texts
        self._totals.tokens += page.tokens
        self._totals.truncated += page.truncated
        self._totals.no_text += page.no_text
        self._totals.refused += page.refused
        self._rejected += [row for row in page.rows if isinstance(row, Rejected)]
        self._require_consent()

    def _require_consent(self) -> None:
        if self._totals.rejected + len(self._rejected) > self._flow.reject_ceiling:
            self._checkpoint()
            raise ConsentNeeded(
                f"{self._totals.rejected:,} rows of {self._flow.name} were rejected, more than the ceiling of"
                f" {self._flow.reject_ceiling:,}; a setting is probably wrong",
                next_step="byov-migrate rejects list",
            )

    def _send(self, pending: _Pending, writers: ThreadPoolExecutor) -> _Pending:
        """Record the batch, hand it to a writer, and checkpoint when it is time."""
        batch = self._composer.batch(pending.rows, tuple(pending.covers.values()))
        if batch.rows:
            self._state.journal.intend(self._flow.name, batch, self._flow.properties)
            self._flying.append(writers.submit(self._deliver, batch))
        elif batch.covers:
            self._flying.append(_already(Accepted(batch, {})))
        self._wait_for_a_writer()
        if len(self._flying) >= CHECKPOINT_BATCHES or self._is_time_to_confirm():
            self._checkpoint()
        return _Pending(self._around.monotonic())

    def _is_time_to_confirm(self) -> bool:
        wanted_s = max(self._checkpoint_took_s / CONFIRMING_SHARE, SOONEST_CHECKPOINT_S)
        return self._around.monotonic() - self._checkpoint_at >= min(wanted_s, CHECKPOINT_S)

    def _deliver(self, batch: Batch) -> Accepted:
        with self._stopwatch.busy("write"):
            return self._delivery.send(batch)

    def _wait_for_a_writer(self) -> None:
        """Hold back until fewer batches fly than there are writers, plus one that is ready: memory stays bounded."""
        while sum(not future.done() for future in self._flying) > self._flow.writers:
            wait([future for future in self._flying if not future.done()], return_when="FIRST_COMPLETED")
        for future in self._flying:
            if future.done() and future.exception() is not None:
                future.result()

    def _checkpoint(self) -> None:
        """Settle everything that flies: confirm it, then move positions, ledger and rejects in one transaction."""
        began = self._around.monotonic()
        accepted, failure = _landed(self._flying)
        self._flying = []
        with self._stopwatch.busy("confirm"):
            receipts = self._delivery.confirm(accepted)
            rejected = [*self._rejected, *_refused(accepted, receipts)]
            late_s = self._delivery.late_s()
            new = self._state.journal.advance(self._flow.name, receipts, self._flow.properties, rejected, late_s=late_s)
        self._rejected = []
        self._checkpoint_at = self._around.monotonic()
        self._checkpoint_took_s = self._checkpoint_at - began
        for receipt in receipts:
            stored = [item for item in receipt.batch.rows if item.document.key in receipt.record_ids]
            self._totals.rows += len(stored)
            self._totals.updated += len(stored) if receipt.batch.way != "create" else 0
            self._totals.vectors += sum(vector is not None for item in stored for vector in item.vectors)
        self._totals.rejected += len(rejected)
        self._totals.rejected_new += new
        self._report()
        if failure is not None:
            raise failure

    def _report(self) -> None:
        slowest, share = self._stopwatch.slowest()
        flow, totals = self._flow, self._totals
        self._around.progress(
            Progress(
                table=flow.name,
                label=flow.label,
                confirmed=flow.confirmed_before + totals.rows,
                total=flow.total,
                rejected=totals.rejected,
                rows_a_second=totals.rows / max(self._stopwatch.elapsed, 1e-9),
                slowest=slowest,
                slowest_share=share,
            )
        )


def _already(accepted: Accepted) -> Future[Accepted]:
    future: Future[Accepted] = Future()
    future.set_result(accepted)
    return future


def _refused(accepted: Sequence[Accepted], receipts: Sequence[Receipt]) -> Iterator[Rejected]:
    """Rows of proved batches that are no records: refused at the first try, or when a lost batch was sent again."""
    known = {row.key: row for item in accepted for row in item.rejected}
    for receipt in receipts:
        for document in (item.document for item in receipt.batch.rows if item.document.key not in receipt.record_ids):
            again = Rejected(document.key, document.position, "write", "refused", "RushDB refuses this row")
            yield known.get(document.key, again)


def _landed(flying: Sequence[Future[Accepted]]) -> tuple[list[Accepted], BaseException | None]:
    """Results up to the first failure: positions may move only over an unbroken run of settled batches."""
    accepted: list[Accepted] = []
    wait(flying)
    for future in flying:
        error = future.exception()
        if error is not None:
            return accepted, error
        accepted.append(future.result())
    return accepted, None
