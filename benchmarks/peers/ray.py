"""ray: remote functions as an executor; its object references become futures with `result`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import ray


class Future(NamedTuple):
    """The reference to a result."""

    reference: Any

    def result(self) -> Any:
        return ray.get(self.reference)


class ProcessPoolExecutor:
    """An executor on a ray of its own, with so many workers."""

    def __init__(self, max_workers: int) -> None:
        ray.init(num_cpus=max_workers, include_dashboard=False, log_to_driver=False, logging_level="error")
        self._remote: dict[Callable[..., Any], Any] = {}

    def __enter__(self) -> ProcessPoolExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        ray.shutdown()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future:
        remote = self._remote.get(function)
        if remote is None:
            remote = self._remote[function] = ray.remote(lambda *arguments: function(*arguments))
        return Future(remote.remote(*args))

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        return iter(ray.get([self.submit(function, item).reference for item in items]))
