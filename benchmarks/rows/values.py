"""Shared values and arrays: increments under their lock, reads and writes."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from ..measure import RATE, TIME, Watch, check, row
from .children import run_together

LENGTH = 1_000


def increment(value: Any, count: int) -> None:
    """Add 1 under the lock, so many times."""
    for _ in repeat(None, count):
        with value.get_lock():
            value.value += 1


@row("value_increment_1p", TIME, size=200_000)
def value_increment_1p(mp: Any, size: int, watch: Watch) -> None:
    value = mp.Value("i", 0)
    for _ in watch:
        value.value = 0
        with watch.timing():
            increment(value, size)
        check(value.value == size, f"{value.value} increments of {size}")


@row("value_increment_2p", RATE, size=400_000)
def value_increment_2p(mp: Any, size: int, watch: Watch) -> None:
    value = mp.Value("i", 0)
    for _ in watch:
        value.value = 0
        watch.add(run_together(mp, increment, (value, size // 2)))
        check(value.value == size, f"{value.value} increments of {size}")


def add_atomically(value: Any, count: int) -> None:
    """Add 1 without a lock, so many times."""
    fetch_add = value.fetch_add
    for _ in repeat(None, count):
        fetch_add(1)


@row("atomic_add", RATE, size=400_000)
def atomic_add(mp: Any, size: int, watch: Watch) -> None:
    parties = 4
    size = max(size // parties, 1) * parties
    value, work = mp.Value("q", 0), add_atomically if mp.is_fastmp else increment
    for _ in watch:
        value.value = 0
        watch.add(run_together(mp, work, (value, size // parties), parties))
        check(value.value == size, f"{value.value} additions of {size}")


def read(value: Any, size: int, watch: Watch) -> None:
    """Measure `value.value`."""
    for _ in watch:
        with watch.timing():
            for _ in repeat(None, size):
                last = value.value
        check(last == 7, f"read {last}")


@row("value_read", TIME, size=500_000)
def value_read(mp: Any, size: int, watch: Watch) -> None:
    read(mp.Value("i", 7), size, watch)


@row("rawvalue_read", TIME, size=1_000_000)
def rawvalue_read(mp: Any, size: int, watch: Watch) -> None:
    read(mp.RawValue("i", 7), size, watch)


@row("rawvalue_write", TIME, size=1_000_000)
def rawvalue_write(mp: Any, size: int, watch: Watch) -> None:
    value = mp.RawValue("i", 0)
    for _ in watch:
        with watch.timing():
            for number in range(size):
                value.value = number
        check(value.value == size - 1, f"{value.value} after the last write")


@row("array_get", TIME, size=300_000)
def array_get(mp: Any, size: int, watch: Watch) -> None:
    array = mp.Array("i", range(LENGTH))
    for _ in watch:
        with watch.timing():
            for _ in repeat(None, size):
                got = array[500]
        check(got == 500, f"array[500] is {got}")


@row("array_set", TIME, size=300_000)
def array_set(mp: Any, size: int, watch: Watch) -> None:
    array = mp.Array("i", LENGTH)
    for _ in watch:
        with watch.timing():
            for number in range(size):
                array[500] = number
        check(array[500] == size - 1, f"array[500] is {array[500]}")


@row("array_slice", TIME, size=100_000)
def array_slice(mp: Any, size: int, watch: Watch) -> None:
    array = mp.Array("i", range(LENGTH))
    for _ in watch:
        with watch.timing():
            for _ in repeat(None, size):
                part = array[:100]
        check(part == list(range(100)), "the slice's content")
