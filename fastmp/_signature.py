"""What a C function takes and gives: read off ctypes and cffi functions, numba's cfuncs, and text.

Called by: `fastmp._native`. Nothing is called here; what cannot be called from C alone is refused, by name.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple, cast

from . import _core
from ._layout import fields_of, is_callback, is_pointer, is_swapped

__all__ = ["Signature", "read_signature", "type_text"]

_FUNCTION: Any = ctypes._CFuncPtr  # type: ignore[attr-defined]
_NEEDS_GIL = 4  # ctypes' FUNCFLAG_PYTHONAPI
_CODES = frozenset("bBhHiIlLqQfdg?cu")

#: C's names of simple types; words may come in any order, so they are sorted.
_NAMES: dict[str, Any] = {
    "void": None,
    "bool": ctypes.c_bool,
    "_Bool": ctypes.c_bool,
    "char": ctypes.c_char,
    "signed char": ctypes.c_byte,
    "unsigned char": ctypes.c_ubyte,
    "short": ctypes.c_short,
    "unsigned short": ctypes.c_ushort,
    "int": ctypes.c_int,
    "signed": ctypes.c_int,
    "unsigned": ctypes.c_uint,
    "unsigned int": ctypes.c_uint,
    "long": ctypes.c_long,
    "unsigned long": ctypes.c_ulong,
    "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "long double": ctypes.c_longdouble,
    "wchar_t": ctypes.c_wchar,
    "size_t": ctypes.c_size_t,
    "ssize_t": ctypes.c_ssize_t,
    "ptrdiff_t": ctypes.c_ssize_t,
    "intptr_t": ctypes.c_ssize_t,
    "uintptr_t": ctypes.c_size_t,
    **{f"int{n}_t": getattr(ctypes, f"c_int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}_t": getattr(ctypes, f"c_uint{n}") for n in (8, 16, 32, 64)},
}
_BY_WORDS = {tuple(sorted(name.split())): type_ for name, type_ in _NAMES.items()}


class Signature(NamedTuple):
    """A C function as it is called: ctypes types, None for no result."""

    name: str
    address: int
    result: Any
    params: tuple[Any, ...]
    keep: object  #: keeps the code in memory


def read_signature(function: Any, signature: Any = None) -> Signature:
    """Return what is known of a C function.

    :param signature: a ctypes prototype (``CFUNCTYPE(...)``) or C text (``"double(double, int)"``), for an address or
        in the place of what the function says itself
    :raises TypeError: if it is no C function, its types are not told, or it cannot be called without Python
    """
    if isinstance(function, int) and not isinstance(function, bool):
        if signature is None:
            raise TypeError("the address of a function needs a signature=, such as 'double(double)'")
        _check_code(function)
        return Signature(hex(function), function, *_told(signature), None)
    if hasattr(function, "address") and isinstance(getattr(function, "ctypes", None), _FUNCTION):
        found = _of_ctypes(function.ctypes, signature)  # a numba.cfunc
        name = getattr(function, "__name__", found.name)
        return found._replace(name=name, address=function.address, keep=function)
    if isinstance(function, _FUNCTION):
        return _of_ctypes(function, signature)
    if type(function).__module__.partition(".")[0] == "_cffi_backend":
        return _of_cffi(function, signature)
    raise TypeError(
        f"map_native() calls C functions (of ctypes, cffi, numba.cfunc, or an address), not {function!r}; "
        "for Python functions there is map()"
    )


def _check_code(address: int) -> None:
    """Refuse a number that is no address of code."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, access = line.split(maxsplit=2)[:2]
            first, _, end = span.partition("-")
            if "x" in access and int(first, 16) <= address < int(end, 16):
                return
    raise ValueError(f"there is no function at the address {address:#x}")


def _of_ctypes(function: Any, signature: Any) -> Signature:
    name = getattr(function, "__name__", None) or "the function"
    if function._flags_ & _NEEDS_GIL:
        raise TypeError(f"{name} is part of Python's C API: it cannot run without the GIL")
    if is_callback(function):
        raise TypeError(f"{name} calls back into Python: map() is for Python functions")
    address = ctypes.cast(function, ctypes.c_void_p).value
    if address is None:
        raise ValueError(f"{name} is a null pointer")
    if signature is not None:
        return Signature(name, address, *_told(signature), function)
    if getattr(function, "errcheck", None) is not None:
        raise TypeError(f"{name} has an errcheck, which is Python: give a signature= to do without it")
    if function.argtypes is None:
        raise TypeError(f"{name} has no argtypes: set argtypes and restype, or give a signature=")
    return Signature(name, address, *_checked(function.restype, function.argtypes), function)


def _told(signature: Any) -> tuple[Any, tuple[Any, ...]]:
    """Result and parameters of a prototype or of C text."""
    if isinstance(signature, str):
        return _parse(signature)
    if isinstance(signature, type) and issubclass(signature, _FUNCTION):
        return _checked(signature._restype_, signature._argtypes_)  # type: ignore[attr-defined]
    raise TypeError(f"a signature is a ctypes prototype or a str such as 'double(double, int)', not {signature!r}")


def _checked(result: Any, params: Any) -> tuple[Any, tuple[Any, ...]]:
    if result is not None:
        type_text(result, "the result")
    for number, param in enumerate(params, 1):
        type_text(param, f"parameter {number}")
    return result, tuple(params)


# ---- C text ----


def _parse(text: str) -> tuple[Any, tuple[Any, ...]]:
    head, bracket, tail = text.partition("(")
    inside, end, rest = tail.partition(")")
    if not bracket or not end or rest.strip(" ;") or "(" in inside:
        raise TypeError(f"{text!r} is no signature: it should look like 'double(double, int)'")
    params = [part.strip() for part in inside.split(",")] if inside.strip() not in ("", "void") else []
    if "..." in params:
        raise TypeError("a variadic function cannot be called: its arguments have no types")
    return _type_named(head), tuple(_type_named(part, param=True) for part in params)


def _type_named(text: str, param: bool = False) -> Any:
    words = text.replace("*", " * ").split()
    stars = words.count("*")
    words = [word for word in words if word not in ("*", "const", "volatile", "restrict")]
    known = _BY_WORDS.get(tuple(sorted(words)), ...)
    if known is ... and param and len(words) > 1:  # a parameter may have a name
        known = _BY_WORDS.get(tuple(sorted(words[:-1])), ...)
    if known is ...:
        if stars:
            return ctypes.c_void_p
        raise TypeError(f"{text.strip()!r} is no C type that is known here")
    if known is None and param and not stars:
        raise TypeError("a parameter cannot be void")
    for _ in range(stars):
        known = ctypes.c_void_p if known is None else ctypes.POINTER(known)
    return known


# ---- cffi ----


def _of_cffi(function: Any, signature: Any) -> Signature:
    backend: Any = sys.modules["_cffi_backend"]
    try:
        ctype = backend.typeof(function)
    except TypeError:
        raise TypeError(f"{function!r} is no pointer: of an API-mode library take ffi.addressof(lib, name)") from None
    if ctype.kind != "function":
        raise TypeError(f"{function!r} is no pointer to a function")
    ffi = backend.FFI()
    address = int(ffi.cast("uintptr_t", function))
    if address == 0:
        raise ValueError("the function is a null pointer")
    if "python" in repr(function).partition("handle")[0] or "calling <" in repr(function):
        raise TypeError(f"{function!r} calls back into Python: map() is for Python functions")
    if signature is not None:
        return Signature(hex(address), address, *_told(signature), function)
    if ctype.ellipsis:
        raise TypeError("a variadic function cannot be called: its arguments have no types")
    result = None if ctype.result.kind == "void" else _from_cffi(ctype.result, backend)
    params = tuple(_from_cffi(param, backend) for param in ctype.args)
    return Signature(hex(address), address, *_checked(result, params), function)


_structures: dict[Any, Any] = {}  # cffi's type: ctypes' of the same layout


def _from_cffi(ctype: Any, backend: Any) -> Any:
    if ctype.kind == "primitive":
        known = _BY_WORDS.get(tuple(sorted(ctype.cname.split())))
        if known is None or ctypes.sizeof(known) != backend.sizeof(ctype):
            raise TypeError(f"cffi's type {ctype.cname!r} has no counterpart in ctypes")
        return known
    if ctype.kind == "enum":
        return ctypes.c_int if backend.sizeof(ctype) == 4 else ctypes.c_long
    if ctype.kind in ("pointer", "function"):
        inner = getattr(ctype, "item", None)
        if inner is None or inner.kind in ("void", "pointer", "function", "array", "union"):
            return ctypes.c_void_p
        if inner.kind == "struct" and inner.fields is None:
            return ctypes.c_void_p
        return ctypes.POINTER(_from_cffi(inner, backend))
    if ctype.kind == "array" and ctype.length is not None:
        return _from_cffi(ctype.item, backend) * ctype.length
    if ctype.kind == "struct" and ctype.fields is not None:
        return _structure_from_cffi(ctype, backend)
    raise TypeError(f"cffi's type {ctype.cname!r} cannot be passed by value")


def _structure_from_cffi(ctype: Any, backend: Any) -> Any:
    if ctype not in _structures:
        if any(field.bitsize >= 0 for _, field in ctype.fields):
            raise TypeError(f"{ctype.cname} has bit fields: it cannot be passed by value")
        fields = [(name, _from_cffi(field.type, backend)) for name, field in ctype.fields]
        made = type(ctype.cname.replace(" ", "_"), (ctypes.Structure,), {"_fields_": fields})
        if ctypes.sizeof(made) != backend.sizeof(ctype):
            raise TypeError(f"{ctype.cname} is packed: it cannot be passed by value")
        _structures[ctype] = made
    return _structures[ctype]


# ---- the types as libffi is told them ----


def type_text(type_: Any, what: str) -> str:
    """Return the text by which csrc/native/types.h knows a ctypes type.

    :param what: whose type it is, for the error
    :raises TypeError: if it cannot be passed by value
    """
    if not isinstance(type_, type):
        raise TypeError(f"{what} has {type_!r} for a type, which is Python")
    if type_ is ctypes.py_object:
        raise TypeError(f"{what} is a Python object: the function needs the GIL")
    if is_pointer(type_):
        return "P"
    if issubclass(type_, ctypes._SimpleCData):
        code: str = type_._type_  # type: ignore[attr-defined]
        if code not in _CODES or is_swapped(type_):
            raise TypeError(f"{what} is of the type {type_.__name__}, which C functions do not have")
        return code
    if issubclass(type_, ctypes.Structure):
        return _structure_text(type_, what)
    if issubclass(type_, ctypes.Union):
        raise TypeError(f"{what} is a union, which libffi cannot pass by value: pass a pointer to it")
    raise TypeError(f"{what} is of the type {type_.__name__}, which cannot be passed by value: pass a pointer")


def _structure_text(type_: Any, what: str) -> str:
    parts = []
    for field in fields_of(type_):
        if len(field) > 2:
            raise TypeError(f"{what} has bit fields, which libffi cannot pass by value: pass a pointer to it")
        parts.append(_member_text(field[1], f"{what}, field {field[0]!r},"))
    text = "{" + "".join(parts) + "}"
    if not parts or _core.native_layout(text)[:2] != (ctypes.sizeof(type_), ctypes.alignment(type_)):
        raise TypeError(f"{what} has not the layout of C ({type_.__name__} is packed, or empty): pass a pointer to it")
    return text


def _member_text(type_: Any, what: str) -> str:
    if not isinstance(type_, type) or not issubclass(type_, ctypes.Array):
        return type_text(type_, what)
    count, item = 1, cast("Any", type_)
    while issubclass(item, ctypes.Array):
        count, item = count * item._length_, item._type_
    return f"[{count}{type_text(item, what)}]" if count else ""
