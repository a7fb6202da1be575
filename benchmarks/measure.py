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

`mp` is a backend; nothing in a row may depend on which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

clock = time.perf_counter  # CLOCK_MONOTONIC: the same in all processes of the machine

MOST_ROUNDS = 40


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

    The first round warms up: it is dropped if there are others.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rounds: list[float] = []

    def __iter__(self) -> Iterator[int]:
        begun = clock()
        for number in range(MOST_ROUNDS):
            yield number
            check(len(self._rounds) == number + 1, "a round without a time")
            if clock() - begun >= self._seconds:
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

    @property
    def rounds(self) -> list[float]:
        """Seconds of each round that counts."""
        check(bool(self._rounds), "no round was timed")
        return self._rounds[1:] or self._rounds


Function = Callable[[Any, int, Watch], None]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    unit: Unit
    size: int
    function: Function = field(repr=False)
    weight: float = 1  # bytes per operation, for BYTES

    def values(self, size: int, rounds: list[float]) -> list[float]:
        """Return the row's value of each round."""
        return [self.unit.value(seconds, size * self.weight) for seconds in rounds]


ROWS: dict[str, Row] = {}


def row(name: str, unit: Unit, *, size: int, weight: float = 1) -> Callable[[Function], Function]:
    """Declare a function as a row; `size` operations are one round of a full run."""

    def declare(function: Function) -> Function:
        check(name not in ROWS, f"two rows are called {name}")
        ROWS[name] = Row(name, unit, size, function, weight)
        return function

    return declare
