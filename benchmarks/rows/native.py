"""A C function over a million doubles: mapped in C by fastmp, by `Pool.map` elsewhere."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path
from subprocess import CalledProcessError, run
from tempfile import TemporaryDirectory
from typing import Any

from ..backends import CannotMeasureError
from ..measure import RATE, Watch, check, row

DOUBLES = 1_000_000
BLOCK_SOURCE = """
#include <math.h>
#include <stddef.h>
void cosines(const double *from, double *to, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = cos(from[i]);
}
"""


def cosine_of_libm() -> Any:
    """Return libm's cos as a ctypes function."""
    function = ctypes.CDLL(find_library("m") or "libm.so.6").cos
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function


def cosine(number: float) -> float:
    """Call it from Python, as a pool's worker must."""
    result: float = _cosine(number)
    return result


_cosine = cosine_of_libm()


def compiled(folder: str) -> Any:
    """Return the block form of the same function, compiled here."""
    source, library = Path(folder, "cosines.c"), Path(folder, "cosines.so")
    source.write_text(BLOCK_SOURCE)
    try:
        run(["cc", "-O2", "-shared", "-fPIC", source, "-o", library, "-lm"], check=True, capture_output=True)
    except (OSError, CalledProcessError) as error:
        raise CannotMeasureError(f"no C compiler: {error}") from None
    function = ctypes.CDLL(str(library)).cosines
    pointer = ctypes.POINTER(ctypes.c_double)
    function.argtypes, function.restype = [pointer, pointer, ctypes.c_size_t], None
    return function


def by_pool_map(mp: Any, size: int, watch: Watch) -> None:
    """Measure what is written without native calls."""
    numbers = [float(number) for number in range(size)]
    with mp.Pool(2) as pool:
        for _ in watch:
            with watch.timing():
                results = pool.map(cosine, numbers)
            check(results[-1] == math.cos(size - 1), "the last cosine")


def natively(mp: Any, function: Any, size: int, watch: Watch, **options: Any) -> None:
    """Measure fastmp's native map."""
    numbers, cosines = mp.shared_array(size, "d"), mp.shared_array(size, "d")
    for number in range(size):
        numbers[number] = number
    with mp.Pool(2) as pool:
        if not hasattr(pool, "map_native"):
            raise CannotMeasureError(f"{mp.name} has no Pool.map_native")
        for _ in watch:
            cosines[size - 1] = 0
            with watch.timing():
                pool.map_native(function, numbers, out=cosines, **options)
            check(math.isclose(cosines[size - 1], math.cos(size - 1)), "the last cosine")


def either(mp: Any, size: int, watch: Watch, native: Callable[[], None]) -> None:
    """Measure fastmp's way on fastmp, and today's on the standard library."""
    if mp.is_fastmp:
        native()
    elif mp.name == "stdlib":
        by_pool_map(mp, size, watch)
    else:
        raise CannotMeasureError(f"{mp.name} has no native calls")


@row("native_map", RATE, size=DOUBLES)
def native_map(mp: Any, size: int, watch: Watch) -> None:
    either(mp, size, watch, lambda: natively(mp, _cosine, size, watch))


@row("native_block", RATE, size=DOUBLES)
def native_block(mp: Any, size: int, watch: Watch) -> None:
    with TemporaryDirectory() as folder:
        either(mp, size, watch, lambda: natively(mp, compiled(folder), size, watch, block=True))
