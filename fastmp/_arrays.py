"""The arguments of a native call: where they lie, what they are made of, and whether that fits the function.

Called by: `fastmp._native`. An array in fastmp's shared memory is passed where it lies; others are copied into it, if
the function cannot write to them.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sized
from dataclasses import dataclass

from . import _core
from ._layout import is_callback, is_pointer, is_swapped
from ._references import block_of
from .sharedctypes import RawArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Argument", "Items", "bind", "bind_out", "items_of"]

_KINDS = {
    code: kind for kind, codes in {"signed": "bhilqn", "unsigned": "BHILQN", "real": "fdg"}.items() for code in codes
}
_CHARACTERS = {"s": "c", "1s": "c", "w": "u", "1w": "u", "<1w": "u"}  # as NumPy's arrays of one character tell them
_BYTES = frozenset("bBc")  # they are as good as each other


@dataclass
class Items:
    """The items of one array, in memory."""

    address: int
    count: int
    stride: int
    size: int  #: of one item
    type_: Any  #: a ctypes type, or a code of the struct module
    readonly: bool
    keep: Any  #: keeps the memory
    contiguous: bool = True

    @property
    def span(self) -> tuple[int, int]:
        """The first address that is used, and how many bytes from there."""
        last = self.stride * max(0, self.count - 1)
        return self.address + min(0, last), abs(last) + self.size


@dataclass
class Argument:
    """One argument of all calls."""

    place: bytes | int  #: the value itself, or the offset in the region
    stride: int
    by_address: bool
    count: int | None  #: how many items; None: one value for all calls
    keep: Any

    def packed(self) -> tuple[bytes | int, int, bool]:
        """As `_core.NativeCall` takes it."""
        return self.place, self.stride, self.by_address


def items_of(obj: Any, what: str) -> Items | None:
    """Return the items of an array; None if `obj` is no array."""
    obj = obj.get_obj() if isinstance(obj, _core.Shared) else obj
    if isinstance(obj, ctypes.Array):
        type_: Any = type(obj)
        count = 1
        while issubclass(type_, ctypes.Array):
            type_, count = type_._type_, count * type_._length_
        size = ctypes.sizeof(type_)
        return Items(ctypes.addressof(obj), count, size, size, type_, False, obj)
    if isinstance(obj, ctypes._SimpleCData | ctypes.Structure | ctypes.Union):
        return None
    try:
        view = memoryview(obj)
    except (TypeError, BufferError):
        return None
    except ValueError as error:  # it is released, or has items that no buffer can tell
        raise (ValueError if isinstance(obj, memoryview) else TypeError)(f"{what}: {error}") from None
    return _items_of_buffer(obj, view, what) if view.ndim else None


def _items_of_buffer(obj: Any, view: memoryview, what: str) -> Items:
    if view.suboffsets:
        raise TypeError(f"{what} is an array of pointers to its rows")
    count = 1
    for length in view.shape or ():
        count *= length
    contiguous = view.c_contiguous
    if not contiguous and view.ndim > 1:
        raise TypeError(f"{what} is not contiguous: only arrays of one dimension may have gaps")
    stride = view.itemsize if contiguous else (view.strides or (view.itemsize,))[0]
    address = _core.buffer_address(view)
    return Items(address, count, stride, view.itemsize, _item_type(obj, view), view.readonly, view, contiguous)


def _item_type(obj: Any, view: memoryview) -> Any:
    """A code, or for NumPy's structures the dtype."""
    code = view.format.lstrip("@=") if view.format[0] in "@=" else view.format
    little = sys.byteorder == "little"
    if code and code[0] in "<>!" and (view.itemsize == 1 or code[0] == ("<" if little else ">")):
        code = code[1:]
    code = _CHARACTERS.get(code, code)
    return code if len(code) == 1 else getattr(obj, "dtype", code)


def _kind(code: Any, size: int) -> Any:
    return (_KINDS.get(code, code), size) if code not in _BYTES else "byte"


def _is_same(type_: Any, items: Items) -> bool:
    """Whether the items are values of the ctypes type `type_`."""
    found = items.type_
    if found is type_:
        return True
    if ctypes.sizeof(type_) != items.size:
        return False
    if issubclass(type_, ctypes.Structure | ctypes.Union):
        numpy = sys.modules.get("numpy")
        return numpy is not None and isinstance(found, numpy.dtype) and bool(found == numpy.dtype(type_))
    if isinstance(found, type):
        if not issubclass(found, ctypes._SimpleCData) or is_pointer(found) or is_swapped(found):
            return is_pointer(found) and is_pointer(type_)
        found = found._type_  # type: ignore[attr-defined]
    if not isinstance(found, str) or is_pointer(type_):
        return False
    return bool(_kind(found, items.size) == _kind(type_._type_, items.size))


def _describe(items: Items) -> str:
    return getattr(items.type_, "__name__", None) or repr(str(items.type_))


def bind(param: Any, arg: Any, what: str, block: bool) -> Argument:
    """Return how `arg` is given to the parameter of type `param`.

    :param what: the argument's name, for errors
    :param block: whether the function is called by blocks: arrays are passed by address
    :raises TypeError: if the types do not fit, or the memory cannot be shared
    """
    items = items_of(arg, what)
    if items is None and isinstance(arg, list | tuple | range):
        items = _copied_list(param, arg, what, block)
    if items is None:
        return _bind_one(param, arg, what)
    by_address = _goes_by_address(param, items, what, block)
    if not by_address and not _is_same(param, items):
        raise TypeError(f"{what} has items of type {_describe(items)}; the function takes {param.__name__}")
    if block and not items.contiguous:
        raise TypeError(f"{what} is not contiguous, as a block must be")
    return _place(items, by_address, what)


def _copied_list(param: Any, arg: Any, what: str, block: bool) -> Items | None:
    type_ = getattr(param, "_type_", None) if block and is_pointer(param) else param
    if not isinstance(type_, type):
        raise TypeError(
            f"{what} is a {type(arg).__name__}: make an array of it, as the function does not tell its type"
        )
    try:
        items = items_of(RawArray(type_, arg), what)
    except TypeError as error:
        raise TypeError(f"{what} cannot become an array of {type_.__name__}: {error}") from None
    assert items is not None
    items.readonly = True  # what the function writes there would be lost
    return items


def _goes_by_address(param: Any, items: Items, what: str, block: bool) -> bool:
    """Whether the function is given the items' addresses: it takes a pointer, and they are none."""
    if not is_pointer(param):
        if block:
            raise TypeError(f"{what} is an array; by blocks, the function would have to take a pointer to it")
        return False
    if not block and _is_same(param, items):
        return False
    target = getattr(param, "_type_", None)
    if isinstance(target, type):
        if not _is_same(target, items):
            raise TypeError(
                f"{what} has items of type {_describe(items)}; the function takes a pointer to {target.__name__}"
            )
    elif target in ("z", "Z") and items.size != (1 if target == "z" else ctypes.sizeof(ctypes.c_wchar)):
        raise TypeError(f"{what} has items of type {_describe(items)}; the function takes a pointer to characters")
    return True


def _place(items: Items, by_address: bool, what: str) -> Argument:
    first, span = items.span
    offset = _core.region_offset(first, span)
    if offset is not None:
        return Argument(offset + items.address - first, items.stride, by_address, items.count, items.keep)
    if by_address and not items.readonly:
        raise TypeError(f"{_out_of_reach(what, items.keep)}: the function, which gets its address, could write to it")
    block = _core.ValueBlock(max(1, span))
    address = _core.buffer_address(memoryview(block))
    ctypes.memmove(address, first, span if items.count else 0)
    offset = _core.region_offset(address, span)
    assert offset is not None
    return Argument(offset + items.address - first, items.stride, by_address, items.count, block)


def _out_of_reach(what: str, obj: Any) -> str:
    """Say why the workers cannot write to an array."""
    if block_of(obj) is not None:
        return f"{what} is in the shared memory of another program, which the workers have not"
    return f"{what} is not in fastmp's shared memory: use Array, RawArray or shared_array"


def _bind_one(param: Any, arg: Any, what: str) -> Argument:
    """One value for all calls."""
    obj = arg.get_obj() if isinstance(arg, _core.Shared) else arg
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.ndarray) and not is_pointer(param):
        obj = obj[()]  # it has no dimension: one value
    if is_pointer(param) and isinstance(obj, param) and obj:
        return _bind_pointer(obj, arg, what)
    if is_pointer(param) and isinstance(obj, ctypes._SimpleCData | ctypes.Structure | ctypes.Union):
        if not isinstance(obj, param):
            return _bind_address(param, obj, what)
    elif isinstance(obj, ctypes._SimpleCData) and not isinstance(obj, param):
        obj = obj.value
    if issubclass(param, ctypes.Structure) and not isinstance(obj, param):
        raise TypeError(f"{what} is {type(arg).__name__}; the function takes {param.__name__}")
    if isinstance(obj, Sized) and not isinstance(obj, bytes | str | ctypes._SimpleCData | ctypes.Structure):
        raise TypeError(f"{what} is {type(arg).__name__}, which has no buffer: it is no array for a C function")
    return Argument(_as_bytes(param, obj, what), 0, False, None, arg)


def _bind_pointer(obj: Any, arg: Any, what: str) -> Argument:
    """A pointer of ctypes. One that tells what it points to must lead where the workers can go."""
    if isinstance(obj, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        if is_callback(obj):
            raise TypeError(f"{what} calls back into Python")
    elif isinstance(obj, ctypes._Pointer) or obj._type_ in ("z", "Z"):
        address = ctypes.cast(obj, ctypes.c_void_p).value or 0
        size = ctypes.sizeof(obj._type_) if isinstance(obj, ctypes._Pointer) else 1
        offset = _core.region_offset(address, size)
        if offset is None:
            raise TypeError(f"{what} points to memory that is not shared: use Value, Array, RawArray or shared_array")
        return Argument(offset, 0, True, None, arg)
    return Argument(bytes(obj), 0, False, None, arg)


def _as_bytes(param: Any, obj: Any, what: str) -> bytes:
    if is_pointer(param):
        if obj is None or (isinstance(obj, int) and not isinstance(obj, bool)):
            return bytes(ctypes.c_void_p(obj))
        if not isinstance(obj, param):
            raise TypeError(f"{what} is {type(obj).__name__}; the function takes a pointer")
    try:
        return bytes(obj if isinstance(obj, param) else param(obj))
    except TypeError as error:
        raise TypeError(f"{what} is {type(obj).__name__}; the function takes {param.__name__}: {error}") from None


def _bind_address(param: Any, obj: Any, what: str) -> Argument:
    target = getattr(param, "_type_", None)
    if isinstance(target, type) and not isinstance(obj, target):
        raise TypeError(f"{what} is {type(obj).__name__}; the function takes a pointer to {target.__name__}")
    offset = _core.region_offset(ctypes.addressof(obj), ctypes.sizeof(obj))
    if offset is None:
        raise TypeError(f"{what} is not in fastmp's shared memory: use Value or RawValue")
    return Argument(offset, 0, True, None, obj)


def bind_out(type_: Any, out: Any, count: int) -> tuple[tuple[int, int], Any]:
    """Return where the results go, `((offset, stride), keep)`.

    :raises TypeError: if `out` is of another type, or not in shared memory
    :raises ValueError: if it has another length
    """
    items = items_of(out, "out")
    if items is None:
        raise TypeError(f"out is {type(out).__name__}, and no array")
    if not _is_same(type_, items):
        raise TypeError(f"out has items of type {_describe(items)}; the function gives {type_.__name__}")
    if items.readonly:
        raise TypeError("out cannot be written to")
    if items.count > 1 and abs(items.stride) < items.size:
        raise ValueError("items of out share memory")
    if items.count != count:
        raise ValueError(f"out has {items.count} items; there will be {count} results")
    first, span = items.span
    offset = _core.region_offset(first, span)
    if offset is None:
        raise TypeError(_out_of_reach("out", out))
    return (offset + items.address - first, items.stride), items.keep
