"""Pool: maps of many small tasks, single calls, start and end of a pool."""

from __future__ import annotations

from operator import neg
from typing import Any

from ..measure import RATE, TIME, Watch, check, row

TASKS = 100_000


def warm(pool: Any) -> None:
    """Use each worker once before the clock runs."""
    check(pool.map(neg, range(64), chunksize=1) == [-number for number in range(64)], "result of the first map")


def negatives(size: int) -> list[int]:
    """Return what the maps below must return."""
    return [-number for number in range(size)]


@row("pool_map_small", RATE, size=TASKS)
def pool_map_small(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                results = pool.map(neg, range(size))
            check(results == negatives(size), "results")


@row("pool_map_chunk1", RATE, size=TASKS)
def pool_map_chunk1(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                results = pool.map(neg, range(size), chunksize=1)
            check(results == negatives(size), "results")


@row("pool_imap_unordered", RATE, size=TASKS)
def pool_imap_unordered(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                total = sum(pool.imap_unordered(neg, range(size)))
            check(total == -sum(range(size)), "sum of the results")


def add(left: int, right: int) -> int:
    """Return the sum."""
    return left + right


@row("pool_starmap", RATE, size=TASKS)
def pool_starmap(mp: Any, size: int, watch: Watch) -> None:
    pairs = [(number, 1) for number in range(size)]
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                results = pool.starmap(add, pairs)
            check(results == list(range(1, size + 1)), "results")


@row("pool_apply_async", RATE, size=10_000)
def pool_apply_async(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                pending = [pool.apply_async(neg, (number,)) for number in range(size)]
                results = [one.get() for one in pending]
            check(results == negatives(size), "results")


@row("pool_apply_latency", TIME, size=2_000)
def pool_apply_latency(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as pool:
        warm(pool)
        for _ in watch:
            with watch.timing():
                total = 0
                for number in range(size):
                    total += pool.apply(neg, (number,))
            check(total == -sum(range(size)), "sum of the results")


@row("pool_startup_shutdown", TIME, size=10)
def pool_startup_shutdown(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        with watch.timing():
            for number in range(size):
                pool = mp.Pool(4)
                check(pool.apply(neg, (number,)) == -number, "result of the one task")
                pool.close()
                pool.join()
