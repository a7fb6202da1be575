"""How arrays in shared memory travel: by the name of their memory, not by its contents.

Called by: picklers, of every message, child to come and pickle by `ForkingPickler`. What goes by reference:

- a NumPy array whose memory `shared_array` has made: the array itself, slices, reshaped, transposed and other views;
- a memoryview on such an array, or on a ctypes object of `fastmp.sharedctypes`.

The sender's and the receiver's array are the same memory then. All other arrays are copied, also an ndarray on an
`Array` or a `RawArray`: the standard library copies it, and programs reuse such buffers. Subclasses of ndarray go as
they always do.
"""

from __future__ import annotations

import struct
import sys
from importlib import import_module

from . import _core, reduction
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["block_of", "know_numpy"]

_ndarray: Any = ()  # the class, once it matters


def block_of(obj: Any) -> _core.ValueBlock | None:
    """Return the memory from `shared_array` that an ndarray or a memoryview is a view on; None if it is none."""
    while True:
        if type(obj) is _core.ValueBlock:
            return obj
        if isinstance(obj, memoryview):
            obj = obj.obj
        elif (_ndarray and isinstance(obj, _ndarray)) or type(obj).__name__ == "DummyArray":
            obj = obj.base
        else:
            return None


def know_numpy(numpy: Any) -> None:
    """From now on arrays of this module go by reference; called when the first one is made, or received."""
    global _ndarray
    if not _ndarray:
        _ndarray = numpy.ndarray
        reduction.in_messages[_ndarray] = (_reduce_ndarray, _reduce_ndarray_in_message)
        ForkingPickler.register(_ndarray, _reduce_ndarray)


# ---- NumPy's


def _reduce_ndarray(array: Any) -> Any:
    return _by_reference(array) or array.__reduce_ex__(4)


def _reduce_ndarray_in_message(array: Any) -> Any:
    """The same where buffers may go out of band."""
    return _by_reference(array) or array.__reduce_ex__(5)


def _by_reference(array: Any) -> tuple[Any, ...] | None:
    block = None if array.base is None else block_of(array.base)
    if block is None or not array.nbytes:
        return None
    offset = array.__array_interface__["data"][0] - _core.buffer_address(memoryview(block))
    return _ndarray_on, (block, array.shape, array.dtype, offset, array.strides, array.flags.writeable)


def _ndarray_on(block: Any, shape: Any, dtype: Any, offset: int, strides: Any, is_writeable: bool) -> Any:
    numpy = import_module("numpy")
    know_numpy(numpy)
    array = numpy.ndarray(shape, dtype, block, offset, strides)
    array.flags.writeable = is_writeable
    return array


# ---- memoryviews


def _reduce_memoryview(view: memoryview) -> Any:
    block: Any = block_of(view) or getattr(view.obj, "_wrapper", None)
    place = _place(view) if isinstance(block, _core.ValueBlock) else None
    if place is None:
        return view.__reduce_ex__(5)  # raises what each Python says of memoryviews
    code, shape, offset, bytes_, step = place
    offset -= _core.buffer_address(memoryview(block))
    return _memoryview_on, (block, code, shape, offset, bytes_, step, view.readonly)


def _place(view: memoryview) -> tuple[str, tuple[int, ...], int, int, int] | None:
    """Return the typecode, shape, address, bytes and step of a view; None if it cannot be made anew from those."""
    code = _native_code(view)
    shape, strides = view.shape or (), view.strides or ()
    if code is None or view.suboffsets:
        return None
    address = _core.buffer_address(view) if view.nbytes else 0
    if view.c_contiguous or not view.nbytes:
        return code, shape, address, view.nbytes, 1
    step, rest = divmod(strides[0], view.itemsize)
    if len(shape) != 1 or rest:
        return None
    last = strides[0] * (shape[0] - 1)
    return code, shape, address + min(0, last), abs(last) + view.itemsize, step


def _native_code(view: memoryview) -> str | None:
    code = view.format.lstrip("@=<" if sys.byteorder == "little" else "@=>!")
    try:
        memoryview(bytes(view.itemsize)).cast(code)  # type: ignore[call-overload]
        return code if struct.calcsize(code) == view.itemsize else None
    except (ValueError, TypeError, struct.error):
        return None


def _memoryview_on(
    block: Any, code: Any, shape: tuple[int, ...], offset: int, bytes_: int, step: int, is_readonly: bool
) -> memoryview:
    view: Any = memoryview(block)[offset : offset + bytes_] if bytes_ else memoryview(block)[:0]
    view = view.cast(code, shape) if bytes_ and step == 1 else view.cast(code)
    view = view if step == 1 else view[::step]
    return view.toreadonly() if is_readonly else view  # type: ignore[no-any-return]


ForkingPickler.register(memoryview, _reduce_memoryview)
