"""Values and arrays in shared memory: `multiprocessing.sharedctypes` on fastmp's region.

The flow of one access: `Value.value` → `csrc/py/value.c` (take the lock, one load or store, give it back) →
`csrc/py/guard.h` (a lock of fastmp's own: no Python call) → `csrc/py/ctype.c` (bytes to object). What is rare
(structures, pointers, wrong values) goes to the ctypes object on the same bytes, so that its results and errors are the
standard ones.

Memory comes from a `_core.ValueBlock`: forked processes see the same bytes, which live until the last process has let
go of them. A raw value is an ordinary ctypes object. Beyond the standard library: atomic operations (`fastmp._atomic`),
and the buffer of a `SynchronizedArray`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from multiprocessing import sharedctypes as _std
from weakref import WeakKeyDictionary

from . import _core
from . import _references as _references  # memoryviews on what is made here go by reference
from ._atomic import atomic
from ._layout import fields_of
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

typecode_to_type = _std.typecode_to_type  # type: ignore[attr-defined]
make_property = _std.make_property  # type: ignore[attr-defined]

# The types that csrc/py/ctype.c reads and writes itself, each with its code there; exactly these, as a subclass may
# behave differently.
_codes: dict[type, str] = {type_: type_._type_ for type_ in (*typecode_to_type.values(), ctypes.c_bool)}
class_cache: WeakKeyDictionary[type, type[SynchronizedBase]] = WeakKeyDictionary()


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_std, name)


def reduce_ctype(obj: Any) -> tuple[Any, ...]:
    """How a ctypes object in shared memory is pickled: by its place."""
    if not isinstance(getattr(obj, "_wrapper", None), _core.ValueBlock):
        plain: tuple[Any, ...] = _std.reduce_ctype(obj)  # type: ignore[attr-defined]
        return plain
    if isinstance(obj, ctypes.Array):
        return rebuild_ctype, (obj._type_, obj._wrapper, obj._length_)  # type: ignore[attr-defined]
    return rebuild_ctype, (type(obj), obj._wrapper, None)


def rebuild_ctype(type_: Any, wrapper: Any, length: int | None) -> Any:
    """Return the ctypes object, or the array of `length`, that lies in `wrapper`."""
    obj = _std.rebuild_ctype(type_, wrapper, length)  # type: ignore[attr-defined]
    ForkingPickler.register(type(obj), reduce_ctype)
    return obj


def _rebuild(place: tuple[Any, ...], lock: Any) -> Any:
    return synchronized(rebuild_ctype(*place), lock)


def _new_value(type_: Any) -> Any:
    return rebuild_ctype(type_, _core.ValueBlock(ctypes.sizeof(type_)), None)


def _resolve(typecode_or_type: Any) -> Any:
    return typecode_to_type.get(typecode_or_type, typecode_or_type)


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """Return a ctypes object in shared memory, zeroed, then initialised with `args`; it has no lock."""
    obj = _new_value(_resolve(typecode_or_type))
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:
    """Return a ctypes array in shared memory, zeroed or as long as the initializer; it has no lock."""
    type_ = _resolve(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(type_ * size_or_initializer)
    obj = _new_value(type_ * len(size_or_initializer))
    obj.__init__(*size_or_initializer)
    return obj


def _with_lock(obj: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        lock = _context(ctx).RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock, ctx=ctx)


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """Return a value in shared memory with a lock: a new RLock, or the one given.

    :param lock: True, a lock, or False for a raw value
    :raises AttributeError: if the lock has no `acquire`
    """
    return _with_lock(RawValue(typecode_or_type, *args), lock, ctx)


def Array(typecode_or_type: Any, size_or_initializer: int | Sequence[Any], *, lock: Any = True, ctx: Any = None) -> Any:
    """Return an array in shared memory with a lock: a new RLock, or the one given.

    :param lock: True, a lock, or False for a raw array
    :raises AttributeError: if the lock has no `acquire`
    :raises OSError: if there is not so much memory
    """
    return _with_lock(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def copy(obj: Any) -> Any:
    """Return a copy of a ctypes object, in shared memory of its own."""
    new_obj = _new_value(type(obj))
    ctypes.pointer(new_obj)[0] = obj
    return new_obj


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> SynchronizedBase:
    """Return a wrapper of the ctypes object `obj` that takes `lock` (a new RLock by default) for every access."""
    assert not isinstance(obj, _std_base), "object already synchronized"
    return _wrapper_class(obj)(obj, lock, ctx)


def _wrapper_class(obj: Any) -> type[SynchronizedBase]:
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized
    if isinstance(obj, ctypes.Array):
        return SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray
    cls = type(obj)
    if cls not in class_cache:
        properties = {field[0]: _field(cls, *field) for field in fields_of(cls) or cls._fields_}
        class_cache[cls] = type(f"Synchronized{cls.__name__}", (SynchronizedBase,), properties)
    return class_cache[cls]


def _field(cls: type, name: str, type_: Any, *bits: int) -> _core.Field:
    """Return the attribute for a field. What is not aligned, and a bit field, has no code: ctypes does it."""
    place: Any = getattr(cls, name)
    fast = not bits and type_ in _codes and place.offset % ctypes.sizeof(type_) == 0
    return _core.Field(name, _codes[type_] if fast else "", place.offset)


def _context(ctx: Any) -> Any:
    if ctx is not None:
        return ctx
    from . import get_context

    return get_context()


# The standard classes as they were when this module was imported: install() puts ours in their place.
_std_base = _std.SynchronizedBase


def _place(obj: Any) -> tuple[Any, str, int]:
    """Return where `obj` lies, its C code and its length, for csrc/py/shared.c. No block or no code: no fast way."""
    block = getattr(obj, "_wrapper", None)
    if not isinstance(block, _core.ValueBlock):
        return None, "", 0
    if not isinstance(obj, ctypes.Array):
        return block, _codes.get(type(obj), ""), 1
    plain = type(obj) is obj._type_ * obj._length_
    return block, _codes.get(obj._type_, "") if plain else "", obj._length_


class SynchronizedBase(_core.Shared, _std_base):  # type: ignore[type-arg]
    """A ctypes object and the lock that every access takes; it passes for that lock in a `with`."""

    def __init__(self, obj: Any, lock: Any = None, ctx: Any = None) -> None:
        lock = lock or _context(ctx).RLock()
        _std_base.__init__(self, obj, lock)
        _core.Shared.__init__(self, obj, lock, *_place(obj))

    def atomic(self, *path: int | str) -> _core.Atomic:
        """Return the atomic operations on an item or a field: `fastmp.atomic(self, *path)`."""
        return atomic(self, *path)

    def __reduce__(self) -> tuple[Any, ...]:
        obj, lock = self.get_obj(), self.get_lock()
        if isinstance(getattr(obj, "_wrapper", None), _core.ValueBlock):
            return _rebuild, (reduce_ctype(obj)[1], lock)  # any pickler sends the place, and not a copy
        return synchronized, (obj, lock)


class Synchronized(_core.SharedValue, SynchronizedBase, _std.Synchronized):  # type: ignore[type-arg]
    """A simple C value: `value` is read and written under the lock.

    An integer or bool also has atomic operations, which take no lock and are exact in any number of processes:
    `fetch_add`, `fetch_sub`, `fetch_or`, `fetch_and`, `fetch_xor`, `exchange`, `compare_exchange`, `load`, `store`; and
    `wait` and `notify`. A `value += 1` under the lock is not atomic against them.
    """


class SynchronizedArray(_core.SharedArray, SynchronizedBase, _std.SynchronizedArray):  # type: ignore[type-arg]
    """An array of C values: items and slices are read and written under the lock.

    It has the buffer of the ctypes array: `memoryview(a)` and `numpy.asarray(a)` are views on the memory, without the
    lock.
    """


class SynchronizedString(SynchronizedArray, _std.SynchronizedString):
    """An array of characters, with `value` (up to the first zero byte) and `raw` (all of it)."""
