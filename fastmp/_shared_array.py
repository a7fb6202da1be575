"""`fastmp.shared_array`: an array in shared memory, NumPy's where NumPy is installed.

The memory is a `_core.ValueBlock`: every view keeps it, in every process that has one, and the last one gives it back.
How views travel is in `fastmp._references`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from importlib import import_module

from . import _core
from ._references import know_numpy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["shared_array"]

_NAMES = {float: "d", int: "q", bool: "?"}  # for who has not NumPy


def shared_array(shape: int | Sequence[int], dtype: Any = float) -> Any:
    """Return a zeroed array in shared memory.

    It is a NumPy array if NumPy is installed, otherwise a memoryview. It travels by reference, and so do its slices and
    other views: through queues and pipes, as arguments and results of pools, executors and processes, in a few bytes
    whatever its size. Whoever has it sees the same bytes, and the memory lives until the last view in any process dies.

    :param shape: the length, or the lengths of all dimensions
    :param dtype: what NumPy takes for a dtype; without NumPy a typecode, a simple ctypes type, float, int or bool
    :raises TypeError: for Python objects, which mean nothing to another process
    :raises OSError: if there is not so much memory
    """
    lengths = tuple(map(operator.index, shape)) if isinstance(shape, Sequence) else (operator.index(shape),)
    if any(length < 0 for length in lengths):
        raise ValueError(f"an array cannot have the shape {lengths}")
    try:
        numpy: Any = import_module("numpy")
    except ImportError:
        return _memoryview(lengths, dtype)
    type_ = numpy.dtype(dtype)
    if type_.hasobject:
        raise TypeError("Python objects cannot be shared between processes")
    know_numpy(numpy)
    return numpy.ndarray(lengths, type_, buffer=_core.ValueBlock(math.prod(lengths) * type_.itemsize))


def _memoryview(lengths: tuple[int, ...], dtype: Any) -> memoryview:
    named = _NAMES.get(dtype) if isinstance(dtype, type) else dtype
    code = named or getattr(dtype, "_type_", None)
    if not isinstance(code, str):
        raise TypeError(f"{dtype!r} is no type for an array without NumPy: give a typecode")
    size = memoryview(bytes(16)).cast(code).itemsize  # type: ignore[call-overload]
    bytes_ = math.prod(lengths) * size
    flat = memoryview(_core.ValueBlock(max(bytes_, 1)))[:bytes_]
    if not bytes_:
        return flat.cast(code)  # type: ignore[call-overload,no-any-return]
    return flat.cast(code, lengths)  # type: ignore[call-overload,no-any-return]
