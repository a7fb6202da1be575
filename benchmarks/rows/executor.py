"""ProcessPoolExecutor: many submits, map with single tasks, round trips."""

from __future__ import annotations

from operator import neg
from typing import Any

from ..measure import RATE, TIME, Watch, check, row
from .pool import negatives


def warm(executor: Any) -> None:
    """Have all workers started before the clock runs."""
    check(list(executor.map(neg, range(64))) == negatives(64), "result of the first map")


@row("executor_submit", RATE, size=10_000)
def executor_submit(mp: Any, size: int, watch: Watch) -> None:
    with mp.ProcessPoolExecutor(2) as executor:
        warm(executor)
        for _ in watch:
            with watch.timing():
                futures = [executor.submit(neg, number) for number in range(size)]
                results = [future.result() for future in futures]
            check(results == negatives(size), "results")


@row("executor_map_chunk1", RATE, size=10_000)
def executor_map_chunk1(mp: Any, size: int, watch: Watch) -> None:
    with mp.ProcessPoolExecutor(2) as executor:
        warm(executor)
        for _ in watch:
            with watch.timing():
                results = list(executor.map(neg, range(size), chunksize=1))
            check(results == negatives(size), "results")


@row("executor_latency", TIME, size=2_000)
def executor_latency(mp: Any, size: int, watch: Watch) -> None:
    with mp.ProcessPoolExecutor(2) as executor:
        warm(executor)
        for _ in watch:
            with watch.timing():
                total = 0
                for number in range(size):
                    total += executor.submit(neg, number).result()
            check(total == -sum(range(size)), "sum of the results")
