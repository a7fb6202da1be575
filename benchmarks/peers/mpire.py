"""mpire: `WorkerPool` as a pool. Its `map` unpacks tuples, so `starmap` is the same call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mpire


class Pool:
    """A pool that keeps its workers between calls, as `multiprocessing`'s does.

    mpire's kept workers serve calls of one kind only, so there are as many of its pools as kinds are used.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pools: dict[str, mpire.WorkerPool] = {}

    def _for(self, kind: str) -> mpire.WorkerPool:
        if kind not in self._pools:
            self._pools[kind] = mpire.WorkerPool(self._processes, start_method="fork", keep_alive=True)
        return self._pools[kind]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        for pool in self._pools.values():
            pool.terminate()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.stop_and_join()

    def join(self) -> None:
        pass

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        whole = {"chunk_size": chunksize, "concatenate_numpy_output": False}
        results: list[Any] = self._for("map").map(function, items, **whole)
        return results

    starmap = map

    def imap_unordered(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        results: Iterator[Any] = self._for("imap").imap_unordered(function, items, chunk_size=1)
        return results

    def apply(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self._for("apply").apply(function, args)

    def apply_async(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self._for("apply").apply_async(function, args)
