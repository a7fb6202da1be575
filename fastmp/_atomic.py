"""`fastmp.atomic`: the atomic operations on an item of an array or a field of a structure.

The word is found here, once; each operation on it is C (`csrc/py/atomic_handle.c`).
"""

from __future__ import annotations

import ctypes
import operator
import sys

from . import _core
from ._layout import code_of, field_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["atomic"]

_Key = int | str
_SWAPPED = ">" if sys.byteorder == "little" else "<"


def atomic(obj: Any, *path: _Key) -> _core.Atomic:
    """Return the atomic operations on one integer, bool or pointer in shared memory.

    :param obj: what `Value`, `Array`, `RawValue`, `RawArray` return, or any writable buffer in fastmp's shared memory
    :param path: the way to the word: indices of arrays and names of fields; of a buffer one index for each dimension
    :raises TypeError: if there is no such type of word, or it is not in shared memory
    :raises ValueError: if its address is no multiple of its size
    """
    obj = obj.get_obj() if isinstance(obj, _core.Shared) else obj
    if isinstance(obj, ctypes._SimpleCData | ctypes.Array | ctypes.Structure | ctypes.Union | ctypes._Pointer):
        type_, address = _walk(type(obj), ctypes.addressof(obj), path)
        return _core.Atomic(obj, address, code_of(type_))
    return _in_buffer(obj, path)


def _walk(type_: Any, address: int, path: tuple[_Key, ...]) -> tuple[Any, int]:
    """Follow the path from an object of `type_` at `address`."""
    for key in path:
        if isinstance(key, str):
            type_, offset = field_of(type_, key)
        elif issubclass(type_, ctypes.Array):
            offset = _index(key, type_._length_) * ctypes.sizeof(type_._type_)
            type_ = type_._type_
        else:
            raise TypeError(f"a {type_.__name__} has no item {key!r}")
        address += offset
    return type_, address


def _index(key: int, length: int) -> int:
    index = operator.index(key)
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of range: there are {length} items")
    return index % length


def _in_buffer(obj: Any, path: tuple[_Key, ...]) -> _core.Atomic:
    view = memoryview(obj)
    if view.readonly:
        raise TypeError("atomic operations need a buffer that can be written to")
    if len(path) != view.ndim:
        raise TypeError(f"a buffer of {view.ndim} dimensions needs so many indices, not {len(path)}")
    address = _core.buffer_address(view)
    for key, length, stride in zip(path, view.shape or (), view.strides or (), strict=True):
        if isinstance(key, str):
            raise TypeError("a buffer has indices only")
        address += _index(key, length) * stride
    if view.format.startswith((_SWAPPED, "!")) and view.itemsize > 1:
        raise TypeError("atomic operations need the byte order of the machine")
    code = view.format.lstrip("@=<>!")
    if len(code) != 1:
        raise TypeError(f"items of the type {view.format!r} have no atomic operations")
    return _core.Atomic(view, address, code)
