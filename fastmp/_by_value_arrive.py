"""Functions and classes that arrive by value: where they are put in a process that has not got them.

Called by: pickles that `fastmp._by_value_pickle` has made. Rests on nothing of fastmp.

A function of the main module gets this process's own main module as its globals. What its message brings is put there:
functions and classes replace what is there, other objects do not. What a result brings replaces nothing.
"""

from __future__ import annotations

import pickle
import sys
import weakref
from functools import cache
from importlib import import_module
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = [
    "MainGlobals",
    "add_state",
    "arrive",
    "arrive_as_message",
    "arrive_once",
    "arrived",
    "cloudpickle",
    "complete_classes",
    "is_definition",
    "is_of_main",
    "main_globals",
    "set_class_once",
    "set_state",
]

#: Definitions that a worker remembers; beyond it forgets all and loads again what it meets.
_KEPT = 256


@cache
def cloudpickle() -> Any:
    try:
        return import_module("cloudpickle.cloudpickle")
    except ImportError:
        return None


def main_globals() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def is_definition(obj: object) -> bool:
    return isinstance(obj, FunctionType | type)


def is_of_main(obj: Any) -> bool:
    return is_definition(obj) and getattr(obj, "__module__", None) == "__main__"


class MainGlobals(dict[str, object]):
    """Stands for the main module's globals; pickles as those of the receiver."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _receiver_globals, ()


def _receiver_globals() -> dict[str, Any]:
    """Return the globals of the main module's functions: a child that has run its file has copied them to a module."""
    main = sys.modules["__main__"]
    for obj in vars(main).values():
        if isinstance(obj, FunctionType) and obj.__module__ == main.__name__:
            return obj.__globals__
    return vars(main)


def set_state(function: Any, state: Any) -> None:
    """As cloudpickle does it, but what is there already stays, if it is no definition of the main module."""
    own, given = function.__globals__, state[1]["__globals__"]
    state[1]["__globals__"] = {name: obj for name, obj in given.items() if name not in own or is_of_main(obj)}
    _define({name: obj for name, obj in given.items() if is_of_main(obj)})
    cloudpickle()._function_setstate(function, state)


def add_state(function: Any, state: Any) -> None:
    """The same for a function that is a result: all that is there already stays."""
    own, given = function.__globals__, state[1]["__globals__"]
    state[1]["__globals__"] = {name: obj for name, obj in given.items() if name not in own}
    cloudpickle()._function_setstate(function, state)


#: Classes that have come from here, or arrived here as results: what results say of them is not news.
complete_classes: weakref.WeakSet[type] = weakref.WeakSet()


def set_class_once(cls: type, state: Any) -> Any:
    if cls in complete_classes:
        return cls
    complete_classes.add(cls)
    return cloudpickle()._class_setstate(cls, state)


#: Names that others have defined in this process's main module.
arrived: set[str] = set()


def _define(definitions: dict[str, Any]) -> None:
    """Pickle must find them in the module when they, or their objects, are results."""
    main_globals().update(definitions)
    _receiver_globals().update(definitions)
    arrived.update(definitions)


def arrive(data: bytes) -> Any:
    """Return what was sent, a function or class or what rests on one."""
    obj = pickle.loads(data)
    if is_of_main(obj) and obj.__qualname__.isidentifier():
        _define({obj.__qualname__: obj})
    return obj


_loaded: dict[bytes, Any] = {}


def arrive_once(token: bytes, data: bytes) -> Any:
    """Return a function or class that is sent with each message that needs it."""
    if token not in _loaded:
        if len(_loaded) >= _KEPT:
            _loaded.clear()
        _loaded[token] = arrive(data)
    return _loaded[token]


def arrive_as_message(data: bytes, *buffers: Any) -> Any:
    """Return arguments, or what pickle has refused; that has no place in the main module."""
    return pickle.loads(data, buffers=buffers)
