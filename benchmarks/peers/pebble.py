"""pebble: `ProcessPool` as an executor; its futures are `concurrent.futures`'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pebble


class ProcessPoolExecutor:
    """An executor on a pool of pebble's."""

    def __init__(self, max_workers: int) -> None:
        self._pool = pebble.ProcessPool(max_workers=max_workers)

    def __enter__(self) -> ProcessPoolExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()
        self._pool.join()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        return self._pool.schedule(function, args=args)

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        results: Iterator[Any] = self._pool.map(function, items, chunksize=chunksize).result()
        return results
