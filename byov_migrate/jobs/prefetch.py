"""Work in a thread of its own: a generator that runs ahead, a bounded number of items and no further; and tasks."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
POLL_S = 0.1
"""How soon a blocked producer notices that nobody wants its items any more."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


@contextlib.contextmanager
def prefetch(items: Iterable[T], depth: int, name: str) -> Iterator[Iterator[T]]:
    """Yield an iterator over `items`, which are produced in a thread at most `depth` ahead.

    What the producer raises is raised at the consumer. Leaving the block stops the producer after its current item and
    waits for it, so that nothing it uses is closed under it.
    """
    handed: queue.Queue[_Item[T] | _End] = queue.Queue(maxsize=depth)
    unwanted = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, handed, unwanted), name=f"byov-{name}", daemon=True)
    thread.start()
    try:
        yield _consume(handed)
    finally:
        unwanted.set()
        thread.join()


def _produce(items: Iterable[T], handed: queue.Queue[_Item[T] | _End], unwanted: threading.Event) -> None:
    error: BaseException | None = None
    iterator = iter(items)
    try:
        for value in iterator:
            if not _hand(_Item(value), handed, unwanted):
                break
    except BaseException as caught:  # noqa: BLE001 - raised again in the consumer's thread
        error = caught
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
    _hand(_End(error), handed, unwanted)


def _hand(item: _Item[T] | _End, handed: queue.Queue[_Item[T] | _End], unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        with contextlib.suppress(queue.Full):
            handed.put(item, timeout=POLL_S)
            return True
    return False


def _consume(handed: queue.Queue[_Item[T] | _End]) -> Iterator[T]:
    while True:
        item = handed.get()
        if isinstance(item, _Item):
            yield item.value
            continue
        if item.error is not None:
            raise item.error
        return


@contextlib.contextmanager
def beside(name: str, unwanted: threading.Event) -> Iterator[Executor]:
    """Yield what runs tasks, one after the other, while the block goes on; their errors come with their results.

    Leaving the block sets `unwanted`, drops tasks that have not begun, and waits for the one that has.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix=f"byov-{name}")
    try:
        yield worker
    finally:
        unwanted.set()
        worker.shutdown(cancel_futures=True)
