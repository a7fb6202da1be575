"""Large numpy arrays through a queue: put in one process until summed in the other."""

from __future__ import annotations

from typing import Any

from ..backends import CannotMeasureError
from ..measure import BYTES, Watch, check, row
from .children import children

DOUBLES = 8 << 20
ARRAY_BYTES = 8 * DOUBLES


def sum_arrays(arrays: Any, sums: Any) -> None:
    """Answer each array by its sum, until None."""
    while (array := arrays.get()) is not None:
        sums.put(float(array.sum()))


@row("ndarray_64MB_queue", BYTES, size=4, weight=ARRAY_BYTES)
def ndarray_64mb_queue(mp: Any, size: int, watch: Watch) -> None:
    try:
        import numpy as np
    except ImportError:
        raise CannotMeasureError("numpy is not installed") from None
    array = np.ones(DOUBLES)
    arrays, sums = mp.Queue(), mp.Queue()
    with children(mp, [(sum_arrays, (arrays, sums))]):
        for _ in watch:
            with watch.timing():
                for _ in range(size):
                    arrays.put(array)
                    check(sums.get() == DOUBLES, "sum of the array")
        arrays.put(None)
