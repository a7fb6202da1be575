"""Functions and classes by value, with `cloudpickle`: what pickle refuses, and what a worker's main module has not.

Called by: csrc/pool/function.c for the callables of pools and executors (`Sender`), `fastmp.spawn` for what a child
that is not forked is to run (`goes_by_value`). Without cloudpickle everything is as in the standard library.

Two kinds of callable go by value:

- those of the main module that were defined after the workers were made, or that no worker can import (a notebook);
- those that pickle refuses: lambdas, closures, local functions and classes; unless `install()` is in force, as then
  programs and tests may rely on the error.

A function of the main module is given the receiver's own main module as its globals. Of the globals that it names,
functions and classes that are new come along and replace what is there; other objects only if there is nothing of
their name, so that a counter that lives in a worker goes on.
"""

from __future__ import annotations

import io
import pickle
import sys
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib import import_module
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

from ._installed import is_installed
from .reduction import ForkingPickler

__all__ = ["ByValue", "Sender", "goes_by_value"]

_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def _main_globals() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _is_definition(obj: object) -> bool:
    return isinstance(obj, FunctionType | type)


def _is_of_main(obj: Any) -> bool:
    return _is_definition(obj) and getattr(obj, "__module__", None) == "__main__"


def _is_importable(main: ModuleType) -> bool:
    """Whether a child that is not forked runs the main module's file."""
    return getattr(main, "__spec__", None) is not None or hasattr(main, "__file__")


def _is_found(obj: Any) -> bool:
    """Whether pickle finds it by its name; of those of Python itself, it knows better."""
    if obj.__module__ in ("builtins", None):
        return True
    found: Any = sys.modules.get(obj.__module__)
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


# ---- the sender


class Sender:
    """What the workers of one pool know of the main module, and what to send in the place of what they do not.

    :param forked: whether they are forked, and so know what is there now; others know what the file defines
    """

    def __init__(self, forked: bool) -> None:
        main = sys.modules["__main__"]
        names = dict(vars(main)) if forked or _is_importable(main) else {}
        self._known = {id(obj): weakref.ref(obj) for obj in names.values() if _is_definition(obj)}
        self._names = frozenset(names) if forked else frozenset()
        self._sent: dict[object, ByValue] = {}

    def __call__(self, function: Any, error: BaseException | None) -> Any:
        """Return what is pickled in the function's place, or None: itself.

        :param error: what pickle has said; None: it has not been asked yet
        """
        if error is not None:
            if is_installed() or not isinstance(error, _REFUSALS) or _cloudpickle() is None:
                return None
            return ByValue(function, self._is_known, self._names)
        if not self._is_new(function) or _cloudpickle() is None:
            return None
        sent = self._sent.get(function) if _is_definition(function) else None
        if sent is not None and sent.is_current():
            return sent
        sent = ByValue(function, self._is_known, self._names)
        if _is_definition(function):
            self._sent[function] = sent
        return sent

    def _is_new(self, function: Any) -> bool:
        """Whether it rests on a definition of the main module that the workers have not."""
        while isinstance(function, partial):
            function = function.func
        if isinstance(function, MethodType):
            function = function.__self__
        definition = function if _is_definition(function) else type(function)
        return _is_of_main(definition) and not self._is_known(definition) and _is_found(definition)

    def _is_known(self, obj: Any) -> bool:
        """Whether the workers have this function or class; a part of a class is known with the class."""
        root = obj
        if "." in getattr(obj, "__qualname__", ""):
            root = _main_globals().get(obj.__qualname__.partition(".")[0])
        known = self._known.get(id(root))
        return known is not None and known() is root


def goes_by_value(obj: Any) -> ByValue | None:
    """What is pickled for a child that is not forked in the place of a function or class; None: itself."""
    if not _is_definition(obj):
        return None
    if _is_found(obj):
        if not _is_of_main(obj) or _is_importable(sys.modules["__main__"]):
            return None
    elif is_installed():
        return None
    return ByValue(obj) if _cloudpickle() is not None else None


def _nobody_knows(_obj: object) -> bool:
    return False


class ByValue:
    """A function on its way: pickles as its contents. What arrives is the function."""

    def __init__(
        self, function: Any, is_known: Callable[[Any], bool] = _nobody_knows, names: Iterable[str] = frozenset()
    ) -> None:
        self._function = function
        self._is_known = is_known
        self._names = names
        self._sent: dict[str, Any] = {}

    def is_current(self) -> bool:
        """Whether the definitions that went along are still those of the main module."""
        now = _main_globals()
        return all(now.get(name) is obj for name, obj in self._sent.items())

    def __reduce__(self) -> tuple[Any, ...]:
        stream = io.BytesIO()
        pickler = _pickler()(stream, self._is_known, self._names)
        pickler.dump(self._function)
        self._sent = pickler.sent
        return _arrive, (stream.getvalue(),)


@cache
def _cloudpickle() -> Any:
    try:
        return import_module("cloudpickle.cloudpickle")
    except ImportError:
        return None


@cache
def _pickler() -> Any:
    """Return the class of pickler; made late, as cloudpickle takes longer to import than all of fastmp."""
    base: Any = _cloudpickle().Pickler

    class Pickler(base):  # type: ignore[misc]
        """cloudpickle's, which also knows shared objects, and what the receiver has in its main module."""

        dispatch_table: ClassVar[Any] = ChainMap(
            ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
            base.dispatch_table,
        )

        def __init__(self, file: io.BytesIO, is_known: Callable[[Any], bool], names: Iterable[str]) -> None:
            super().__init__(file)
            self.is_known = is_known
            self.names = names
            self.main = _main_globals()
            self.sent: dict[str, Any] = {}
            self.globals_ref[id(self.main)] = _Globals(here=True)

        def reducer_override(self, obj: Any) -> Any:
            if _is_of_main(obj):
                if self.is_known(obj):
                    return NotImplemented  # by its name
                name = obj.__name__
                if self.main.get(name) is obj:
                    self.sent[name] = obj
            return super().reducer_override(obj)

        def _dynamic_function_reduce(self, function: Any) -> Any:
            reduced = super()._dynamic_function_reduce(function)
            if function.__globals__ is not self.main:
                return reduced
            make, arguments, (state, slots), *nothing, _ = reduced
            named = slots["__globals__"]
            slots["__globals__"] = {name: value for name, value in named.items() if self.must_come(name, value)}
            return (make, arguments, (state, slots), *nothing, _set_state)

        def must_come(self, name: str, value: Any) -> bool:
            return not self.is_known(value) if _is_of_main(value) else name not in self.names

    return Pickler


# ---- the receiver


class _Globals(dict[str, Any]):
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


def _set_state(function: Any, state: Any) -> None:
    """As cloudpickle does it, but what is there already stays, if it is no definition of the main module."""
    own, given = function.__globals__, state[1]["__globals__"]
    state[1]["__globals__"] = {name: obj for name, obj in given.items() if name not in own or _is_of_main(obj)}
    _define({name: obj for name, obj in given.items() if _is_of_main(obj)})
    _cloudpickle()._function_setstate(function, state)


def _define(definitions: dict[str, Any]) -> None:
    """Pickle must find them in the module when they, or their objects, are results."""
    _main_globals().update(definitions)
    _receiver_globals().update(definitions)


def _arrive(data: bytes) -> Any:
    """Return what was sent."""
    obj = pickle.loads(data)
    if _is_of_main(obj) and obj.__qualname__.isidentifier():
        _define({obj.__qualname__: obj})
    return obj
