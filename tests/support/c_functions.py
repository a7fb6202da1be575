"""C functions of libm, typed as a test wants them, and structures that functions take."""

import ctypes
from typing import Any


class Point(ctypes.Structure):
    """With a gap between its fields."""

    _fields_ = (("x", ctypes.c_float), ("y", ctypes.c_double))


class Pair(ctypes.Structure):
    """Two registers full."""

    _fields_ = (("a", ctypes.c_int64), ("b", ctypes.c_int64))


def sqrt() -> Any:
    found = ctypes.CDLL("libm.so.6").sqrt
    found.argtypes, found.restype = [ctypes.c_double], ctypes.c_double
    return found


def typed(result: Any, *params: Any, name: str = "sqrt") -> Any:
    return ctypes.CFUNCTYPE(result, *params)((name, ctypes.CDLL("libm.so.6")))
