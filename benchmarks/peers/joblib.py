"""joblib: the maps of a pool by `Parallel`, on loky's workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib


class Pool:
    """What `Parallel` can do of a pool."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._parallel = joblib.Parallel(n_jobs=processes)

    def __enter__(self) -> Pool:
        self._parallel.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._parallel.__exit__(*exception)

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        self._parallel.batch_size = chunksize or "auto"
        results: list[Any] = self._parallel(joblib.delayed(function)(item) for item in items)
        return results

    def imap_unordered(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        parallel = joblib.Parallel(n_jobs=self._processes, return_as="generator_unordered", batch_size=1)
        results: Iterator[Any] = parallel(joblib.delayed(function)(item) for item in items)
        return results
