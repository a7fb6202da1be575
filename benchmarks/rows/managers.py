"""Dicts and lists that several processes share: a manager's, and fastmp's own."""

from __future__ import annotations

from typing import Any

from ..backends import CannotMeasureError
from ..measure import RATE, Watch, check, row

KEYS = 100


def set_and_get(shared: Any, size: int, watch: Watch) -> None:
    """Measure pairs of a set and a get; a pair counts once."""
    for _ in watch:
        with watch.timing():
            for number in range(size):
                shared[number % KEYS] = number
                got = shared[number % KEYS]
        check(got == size - 1, f"{got} after the last set")


@row("manager_dict_ops", RATE, size=10_000)
def manager_dict_ops(mp: Any, size: int, watch: Watch) -> None:
    with mp.Manager() as manager:
        set_and_get(manager.dict(), size, watch)


@row("manager_list_ops", RATE, size=10_000)
def manager_list_ops(mp: Any, size: int, watch: Watch) -> None:
    with mp.Manager() as manager:
        set_and_get(manager.list([0] * KEYS), size, watch)


@row("shared_dict_ops", RATE, size=10_000)
def shared_dict_ops(mp: Any, size: int, watch: Watch) -> None:
    if mp.is_fastmp:
        set_and_get(mp.shared_dict(), size, watch)
    elif mp.name == "stdlib":  # what is written without it
        manager_dict_ops(mp, size, watch)
    else:
        raise CannotMeasureError(f"{mp.name} has no shared_dict")
