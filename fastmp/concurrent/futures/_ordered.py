"""Results in the order of their calls: the iterators of `ProcessPoolExecutor.map`. Called by: `process.py`."""

from __future__ import annotations

import itertools
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import weakref
    from collections import deque
    from collections.abc import Callable, Iterator
    from typing import Any

    from .process import Future, ProcessPoolExecutor

__all__ = ["buffered", "chunks", "flatten", "in_order", "refill"]


def chunks(iterator: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def in_order(futures: list[Future], deadline: float | None) -> Iterator[Any]:
    """Yield the results. When that ends early, or is thrown away, what no worker has begun is cancelled."""
    futures.reverse()
    try:
        while futures:
            yield _take_last(futures, deadline)  # holds no reference to what it has yielded
    finally:
        for future in futures:
            future.cancel()


def _take_last(futures: list[Future], deadline: float | None) -> Any:
    result = futures[-1].result(None if deadline is None else deadline - time.monotonic())
    futures.pop()
    return result


def buffered(ahead: deque[Future], refill: Callable[[deque[Future]], None], deadline: float | None) -> Iterator[Any]:
    """Yield the results as `in_order` does, and submit one more call before each."""
    try:
        while ahead:
            refill(ahead)
            yield _take_first(ahead, deadline)
    finally:
        for future in ahead:
            future.cancel()


def _take_first(futures: deque[Future], deadline: float | None) -> Any:
    result = futures[0].result(None if deadline is None else deadline - time.monotonic())
    futures.popleft()
    return result


def refill(
    ref: weakref.ref[ProcessPoolExecutor], fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]]
) -> Callable[[deque[Future]], None]:
    """What submits the next call, if there is one and the executor was not thrown away."""

    def submit_one(ahead: deque[Future]) -> None:
        executor = ref()
        if executor is not None and not executor._thrown_away:
            ahead.extend(executor.submit(fn, *call) for call in itertools.islice(calls, 1))

    return submit_one


def flatten(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
