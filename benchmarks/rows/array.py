"""Large numpy arrays, through a queue and as results: from one process until summed in the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import CannotMeasureError
from ..measure import BYTES, Watch, check, row
from .children import children

DOUBLES = 8 << 20
ARRAY_BYTES = 8 * DOUBLES


def numpy() -> Any:
    """Return numpy, if it is there."""
    try:
        import numpy as np
    except ImportError:
        raise CannotMeasureError("numpy is not installed") from None
    return np


def sum_arrays(arrays: Any, sums: Any) -> None:
    """Answer each array by its sum, until None."""
    while (array := arrays.get()) is not None:
        sums.put(float(array.sum()))


def look_at_arrays(arrays: Any, looks: Any) -> None:
    """Answer each array by its length and its ends, until None: what it costs to have it, not to read it."""
    while (array := arrays.get()) is not None:
        looks.put(float(len(array) - 2 + array[0] + array[-1]))


def send_and_answer(mp: Any, work: Any, array: Any, size: int, watch: Watch) -> None:
    """Measure an array of ones from put to the answer."""
    arrays, answers = mp.Queue(), mp.Queue()
    with children(mp, [(work, (arrays, answers))]):
        for _ in watch:
            with watch.timing():
                for _ in range(size):
                    arrays.put(array)
                    check(answers.get() == DOUBLES, "answer to the array")
        arrays.put(None)


@row("ndarray_64MB_queue", BYTES, size=4, weight=ARRAY_BYTES)
def ndarray_64mb_queue(mp: Any, size: int, watch: Watch) -> None:
    send_and_answer(mp, sum_arrays, numpy().ones(DOUBLES), size, watch)


@row("shared_array_64MB", BYTES, size=4, weight=ARRAY_BYTES)
def shared_array_64mb(mp: Any, size: int, watch: Watch) -> None:
    np = numpy()
    if mp.name not in ("stdlib", "fastmp"):
        raise CannotMeasureError(f"{mp.name} has no shared_array")
    array = mp.shared_array(DOUBLES, np.float64) if mp.is_fastmp else np.empty(DOUBLES)
    array[:] = 1
    send_and_answer(mp, look_at_arrays, array, size, watch)


_made: list[Any] = []  # a worker's array, so that only its way is measured


def an_array(number: int) -> Any:
    """Return an array of ones but for its first element."""
    if not _made:
        _made.append(numpy().ones(DOUBLES))
    _made[0][0] = number
    return _made[0]


def check_arrays(arrays: Iterable[Any], size: int) -> None:
    """Sum the results as they come."""
    for number, array in zip(range(size), arrays, strict=True):
        check(float(array.sum()) == DOUBLES - 1 + number, f"sum of array {number}")


@row("ndarray_64MB_pool", BYTES, size=4, weight=ARRAY_BYTES)
def ndarray_64mb_pool(mp: Any, size: int, watch: Watch) -> None:
    numpy()
    with mp.Pool(2) as pool:
        for _ in watch:
            with watch.timing():
                check_arrays(pool.map(an_array, range(size), chunksize=1), size)


@row("ndarray_64MB_executor", BYTES, size=4, weight=ARRAY_BYTES)
def ndarray_64mb_executor(mp: Any, size: int, watch: Watch) -> None:
    numpy()
    with mp.ProcessPoolExecutor(2) as executor:
        for _ in watch:
            with watch.timing():
                check_arrays((executor.submit(an_array, number).result() for number in range(size)), size)
