"""What C types are made of: codes, fields, offsets, as ctypes tells them.

Called by: `fastmp._arrays`, `fastmp._atomic`, `fastmp.sharedctypes`, `fastmp._signature`.
"""

from __future__ import annotations

import ctypes
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["code_of", "field_of", "fields_of", "is_callback", "is_pointer", "is_swapped"]

_NATIVE = f"__ctype_{sys.byteorder[0]}e__"
_ADDRESS = "Q" if ctypes.sizeof(ctypes.c_void_p) == 8 else "I"
_FUNCTION: Any = ctypes._CFuncPtr  # type: ignore[attr-defined]
_POINTER_CODES = frozenset("PzZO")  # void, char and wchar_t pointers, and Python objects


def is_swapped(type_: Any) -> bool:
    """Whether values of a simple type lie in memory in the other byte order."""
    return getattr(type_, _NATIVE, type_) is not type_


def is_pointer(type_: Any) -> bool:
    """Whether values of the type are addresses."""
    if issubclass(type_, ctypes._Pointer | _FUNCTION):
        return True
    return issubclass(type_, ctypes._SimpleCData) and type_._type_ in _POINTER_CODES


def is_callback(function: Any) -> bool:
    """Whether a function of ctypes calls a Python function."""
    kept = getattr(function, "_objects", None) or {}
    return any(type(obj).__name__ == "CThunkObject" for obj in kept.values())


def code_of(type_: Any) -> str:
    """Return the code that csrc/py/ctype.c knows the type by; a pointer is an unsigned integer there.

    :raises TypeError: for a type that is no single word of the machine
    """
    if is_pointer(type_):
        return _ADDRESS
    if not issubclass(type_, ctypes._SimpleCData):
        raise TypeError(f"a {type_.__name__} is not a simple C value")
    if is_swapped(type_):
        raise TypeError(f"{type_.__name__} does not have the byte order of the machine")
    code: str = type_._type_
    return code


def field_of(type_: Any, name: str) -> tuple[Any, int]:
    """Return the type and the offset of a field of a structure or union; anonymous members are looked into.

    :raises TypeError: if there is no such field, or it is a bit field
    """
    if not issubclass(type_, ctypes.Structure | ctypes.Union):
        raise TypeError(f"a {type_.__name__} has no field {name!r}")
    found = _find(type_, name)
    if found is None:
        raise TypeError(f"{type_.__name__} has no field {name!r}")
    if len(found) > 2:
        raise TypeError(f"{name!r} is a bit field of {type_.__name__}: it has no address")
    return found[1], getattr(type_, name).offset


def fields_of(type_: Any) -> list[tuple[Any, ...]]:
    """Return the fields of a structure or union in the order of memory, those of its bases first."""
    return [field for cls in reversed(type_.__mro__) for field in cls.__dict__.get("_fields_", ())]


def _find(type_: Any, name: str) -> Any:
    """Return the entry of `_fields_` that `name` stands for, or None."""
    for cls in type_.__mro__:
        for field in cls.__dict__.get("_fields_", ()):
            if field[0] == name:
                return field
            if field[0] in cls.__dict__.get("_anonymous_", ()):
                inner = _find(field[1], name)
                if inner is not None:
                    return inner
    return None
