"""What a row needs: its declaration (`row`), its clock (`Watch`), its check (`check`).

A row is a function `(mp, size, watch)`. It prepares its objects, and then runs rounds of `size` operations as long as
the watch wants more:

    @row("lock_with", TIME, size=500_000)
    def lock_with(mp, size, watch):
        lock = mp.Lock()
        for _ in watch:
            with watch.timing():
                for _ in repeat(None, size):
                    with lock:
                        pass

`mp` is a backend; nothing in a row may depend on which, but in the rows that compare a feature of fastmp's with what
one writes without it (`mp.is_fastmp`).

A curve of a plot is a `sweep`: one row for each of its points, called SERIES:x, whose function takes x as well. A row
that times each operation by itself (`watch.each`) yields a distribution.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

clock = time.perf_counter  # CLOCK_MONOTONIC: the same in all processes of the machine

MOST_ROUNDS = 40
#: Of the distributions that are kept.
PERCENTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100)


class WrongResultError(Exception):
    """What was measured did not do what it should."""


def check(good: bool, what: str) -> None:
    """Fail the row unless `good`; unlike assert also under -O."""
    if not good:
        raise WrongResultError(what)


class Unit(NamedTuple):
    """How seconds per round become the row's value."""

    name: str
    larger_is_better: bool

    def value(self, seconds: float, amount: float) -> float:
        """Amount per second, or seconds per amount."""
        return amount / seconds if self.larger_is_better else seconds / amount


RATE = Unit("1/s", True)
BYTES = Unit("B/s", True)
TIME = Unit("s", False)
LOAD = Unit("s/s", False)


class Watch:
    """Rounds and their times. Iterate over it for the rounds; tell it the time of each by `timing` or `add`.

    The first round warms up: it is dropped if there are others, and there are, unless no time is given.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rounds: list[float] = []
        self._each: list[float] = []

    def __iter__(self) -> Iterator[int]:
        begun = clock()
        for number in range(MOST_ROUNDS):
            yield number
            check(len(self._rounds) == number + 1, "a round without a time")
            if (number > 0 or self._seconds == 0) and clock() - begun >= self._seconds:
                return

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time a block as one round."""
        begun = clock()
        yield
        self.add(clock() - begun)

    def add(self, seconds: float) -> None:
        """Add a round that was timed otherwise."""
        check(seconds > 0, f"a round took {seconds} s")
        self._rounds.append(seconds)

    def each(self, seconds: list[float]) -> None:
        """Add a round of operations that were timed one by one."""
        self.add(sum(seconds))
        self._each = self._each + seconds if len(self._rounds) > 2 else seconds  # the first round warms up

    @property
    def distribution(self) -> list[float]:
        """Seconds of one operation at each of PERCENTILES; empty where none was timed by itself."""
        ordered = sorted(self._each)
        return [ordered[round((len(ordered) - 1) * percent / 100)] for percent in PERCENTILES] if ordered else []

    @property
    def rounds(self) -> list[float]:
        """Seconds of each round that counts."""
        check(bool(self._rounds), "no round was timed")
        return self._rounds[1:] or self._rounds


Function = Callable[[Any, int, Watch], None]
Curve = Callable[[Any, int, Watch, int], None]


@dataclass(frozen=True)
class Row:
    """One line of the table, or one point of a curve."""

    name: str
    unit: Unit
    size: int
    function: Function = field(repr=False)
    weight: float = 1  # bytes per operation, for BYTES
    series: str = ""  # the curve that it is a point of
    x: int = 0  # where on the curve

    def values(self, size: int, rounds: list[float]) -> list[float]:
        """Return the row's value of each round."""
        return [self.unit.value(seconds, size * self.weight) for seconds in rounds]


ROWS: dict[str, Row] = {}


def row(name: str, unit: Unit, *, size: int, weight: float = 1) -> Callable[[Function], Function]:
    """Declare a function as a row; `size` operations are one round of a full run."""

    def declare(function: Function) -> Function:
        add(Row(name, unit, size, function, weight))
        return function

    return declare


def add(row: Row) -> None:
    """Add a row to the table."""
    check(row.name not in ROWS, f"two rows are called {row.name}")
    ROWS[row.name] = row


def sweep(series: str, unit: Unit, points: Mapping[int, int]) -> Callable[[Curve], Curve]:
    """Declare a function as a curve; `points` gives the operations in one round of a full run at each x.

    Of a curve in bytes per second x is the bytes of one operation.
    """

    def declare(function: Curve) -> Curve:
        for x, size in points.items():
            at_x = partial(at, function, x)
            add(Row(f"{series}:{x}", unit, size, at_x, x if unit is BYTES else 1, series, x))
        return function

    return declare


def at(curve: Curve, x: int, mp: Any, size: int, watch: Watch) -> None:
    """Measure a curve at x."""
    curve(mp, size, watch, x)
