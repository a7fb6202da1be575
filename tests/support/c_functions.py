"""C functions of libm, typed as a test wants them."""

import ctypes
from typing import Any


def sqrt() -> Any:
    found = ctypes.CDLL("libm.so.6").sqrt
    found.argtypes, found.restype = [ctypes.c_double], ctypes.c_double
    return found


def typed(result: Any, *params: Any, name: str = "sqrt") -> Any:
    return ctypes.CFUNCTYPE(result, *params)((name, ctypes.CDLL("libm.so.6")))
