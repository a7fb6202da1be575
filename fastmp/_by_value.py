"""Functions and classes by value, with `cloudpickle`: what pickle refuses, and what a worker's main module has not.

Called by: csrc/pool/function.c and csrc/wire/pickle.c for the callables and arguments of pools and executors
(`Sender`) and for their results (`Results`), `fastmp.spawn` for what a child that is not forked is given
(`goes_by_value`). Without cloudpickle everything is as in the standard library.

Two kinds of object go by value:

- functions and classes of the main module that were defined after the workers were made, or that no worker can import
  (a notebook), wherever pickle meets them;
- messages that pickle refuses because of lambdas, closures, local functions and classes: they are pickled once more, by
  cloudpickle; unless `install()` is in force, as then programs and tests may rely on the error.

A function of the main module is given the receiver's own main module as its globals. Of the globals that it names,
functions and classes that are new come along and replace what is there; other objects only if there is nothing of
their name, so that a counter that lives in a worker goes on. What a result brings replaces nothing.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import weakref
from collections import ChainMap
from functools import cache, partial, reduce
from importlib import import_module
from types import FunctionType, MethodType, ModuleType

from . import _core, reduction
from ._installed import is_installed
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


__all__ = ["ByValue", "Results", "Sender", "dumps_result", "goes_by_value"]

_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)
#: Definitions that a worker remembers; beyond it forgets all and loads again what it meets.
_KEPT = 256


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


def _may_replace(error: BaseException) -> bool:
    """Whether what pickle has refused with this error may go by value."""
    return isinstance(error, _REFUSALS) and not is_installed() and _cloudpickle() is not None


# ---- the sender: what its receivers know


class _Nobody:
    """Receivers that know nothing of the main module."""

    def is_known(self, obj: Any) -> bool:
        """Whether the receivers have this function or class of the main module."""
        return False

    def has(self, name: str) -> bool:
        """Whether the receivers' main module has something of this name."""
        return False

    def reduce_definition(self, definition: Any) -> Any:
        """Return how a function or class of the main module is pickled in a message; NotImplemented: no special way."""
        return NotImplemented

    def must_come(self, name: str, value: Any) -> bool:
        """Whether this global of a function goes along with it."""
        return not self.is_known(value) if _is_of_main(value) else not self.has(name)


class Sender(_Nobody):
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
        """Return what is pickled in the place of a callable, or None: itself.

        :param error: what pickle has said; None: it has not been asked yet
        """
        if error is not None:
            return ByValue(function, self, is_message=True) if _may_replace(error) else None
        if not self._is_new(function) or _cloudpickle() is None:
            return None
        return self._sent_for(function) if _is_definition(function) else ByValue(function, self)

    def refused(self, payload: Any, error: BaseException) -> Any:
        """Return what is pickled in the place of arguments that pickle has refused, or None: they are refused."""
        return ByValue(payload, self, error, is_message=True) if _may_replace(error) else None

    def reduce_definition(self, definition: Any) -> Any:
        """Return how a function or class of the main module is pickled among arguments; NotImplemented: by its name."""
        if self.is_known(definition) or not _is_found(definition) or _cloudpickle() is None:
            return NotImplemented
        root, _, path = definition.__qualname__.partition(".")
        if path:
            return reduce, (getattr, path.split("."), _main_globals()[root])
        return self._sent_for(definition).__reduce__()

    def _sent_for(self, definition: Any) -> ByValue:
        sent = self._sent.get(definition)
        if sent is None or not sent.is_current():
            self._sent = {obj: known for obj, known in self._sent.items() if _is_found(obj)}
            sent = self._sent[definition] = ByValue(definition, self)
        return sent

    def _is_new(self, function: Any) -> bool:
        """Whether it rests on a definition of the main module that the workers have not."""
        while isinstance(function, partial):
            function = function.func
        if isinstance(function, MethodType):
            function = function.__self__
        definition = function if _is_definition(function) else type(function)
        return _is_of_main(definition) and not self.is_known(definition) and _is_found(definition)

    def is_known(self, obj: Any) -> bool:
        """Whether the workers have this function or class; a part of a class is known with the class."""
        root = obj
        if "." in obj.__qualname__:
            if not _is_found(obj):
                return False
            root = _main_globals().get(obj.__qualname__.partition(".")[0])
        known = self._known.get(id(root))
        return known is not None and known() is root

    def has(self, name: str) -> bool:
        """Whether the workers' main module has something of this name."""
        return name in self._names


class Results(_Nobody):
    """In a worker, made before its first task: what its parent knows, and what to send for what pickle refuses.

    The parent has all that is in the main module now, and what it has sent since.
    """

    def __init__(self) -> None:
        global _results
        self._names = frozenset(_main_globals())
        _results = self

    def refused(self, result: Any, error: BaseException) -> Any:
        """Return what is pickled in the place of a result that pickle has refused, or None: it is refused."""
        return ByValue(result, self, error, is_message=True) if _may_replace(error) else None

    def is_known(self, obj: Any) -> bool:
        """Whether the parent has this function or class."""
        return self.has(obj.__qualname__.partition(".")[0]) and _is_found(obj)

    def has(self, name: str) -> bool:
        """Whether the parent's main module has something of this name."""
        return name in self._names or name in _arrived

    def must_come(self, name: str, value: Any) -> bool:
        """Whether this global of a function goes along with it."""
        return not self.has(name)


_results: Results | None = None


def dumps_result(obj: Any) -> bytes:
    """In a worker: pickle a part of a result."""
    try:
        return bytes(ForkingPickler.dumps(obj))
    except _REFUSALS as error:
        instead = _results.refused(obj, error) if _results is not None else None
        if instead is None:
            raise
    instead.has_buffers = False
    return bytes(ForkingPickler.dumps(instead))


def goes_by_value(obj: Any) -> ByValue | None:
    """What is pickled for a child that is not forked in the place of a function or class; None: itself."""
    if not _is_definition(obj):
        return None
    if _is_found(obj):
        if not _is_of_main(obj) or _is_importable(sys.modules["__main__"]):
            return None
    elif is_installed():
        return None
    return ByValue(obj, _Nobody()) if _cloudpickle() is not None else None


# ---- on the way


class ByValue:
    """An object on its way: pickles as its contents. What arrives is the object.

    :param receiver: what is known there
    :param error: what pickle has said, and is raised if cloudpickle refuses as well
    :param is_message: whether it is a message, which may have large buffers; else a function or class, or what rests on
        one, that the receiver is to have in its main module
    """

    def __init__(
        self, obj: Any, receiver: _Nobody, error: BaseException | None = None, is_message: bool = False
    ) -> None:
        self._obj = obj
        self._receiver = receiver
        self._error = error
        self._is_message = self.has_buffers = is_message
        self._sent: dict[str, Any] = {}
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._reduced: Any = None

    def is_current(self) -> bool:
        """Whether the definitions that went along are still those of the main module, and as they were."""
        now = _main_globals()
        return all(now.get(name) is obj for name, obj in self._sent.items()) and all(
            _is_same(vars(cls), before) for cls, before in self._classes
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reduced is not None:
            return self._reduced  # type: ignore[no-any-return]
        refused: BaseException | None = None
        try:
            data, buffers, is_alone = self._dump()
        except _REFUSALS as second:
            refused = self._error
            if refused is None:
                raise
            if str(second) != str(refused):
                refused.add_note(f"nor does it go by value: {type(second).__name__}: {second}")
        if refused is not None:
            raise refused  # not in the handler: it keeps the context it came with
        if self._is_message:
            return _arrive_as_message, (data, *buffers)
        if not is_alone or not _is_definition(self._obj):
            return _arrive, (data,)
        self._reduced = _arrive_once, (os.urandom(16), data)
        return self._reduced  # type: ignore[no-any-return]

    def _dump(self) -> tuple[bytes, list[pickle.PickleBuffer], bool]:
        """Return the pickle, its buffers, and whether it holds no references to shared objects."""
        stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
        add_buffer = buffers.append if self.has_buffers else None
        pickler = _pickler()(stream, self._receiver, self._is_message, add_buffer)
        before = _core.carried()
        pickler.dump(self._obj)
        self._sent = pickler.sent
        self._classes = [(obj, dict(vars(obj))) for obj in pickler.sent.values() if isinstance(obj, type)]
        return stream.getvalue(), buffers, _core.carried() == before


def _is_same(now: Any, before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(now.get(name) is value for name, value in before.items())


@cache
def _cloudpickle() -> Any:
    try:
        return import_module("cloudpickle.cloudpickle")
    except ImportError:
        return None


#: Reducers that differ from cloudpickle's and the registered ones, as of the pickler that was made last.
_own_reducers: dict[type, Any] = {}


def _reduce_file(file: Any) -> Any:
    """Reduce the standard streams as cloudpickle does; other files are refused, not read and sent as their text."""
    if file is sys.stdout or file is sys.stderr:
        return _cloudpickle()._file_reduce(file)
    raise TypeError("cannot pickle '_io.TextIOWrapper' object")


@cache
def _pickler() -> Any:
    """Return the class of pickler; made late, as cloudpickle takes longer to import than all of fastmp."""
    base: Any = _cloudpickle().Pickler
    _own_reducers[io.TextIOWrapper] = _reduce_file

    class Pickler(base):  # type: ignore[misc]
        """cloudpickle's, which also knows shared objects, and what the receiver has in its main module."""

        dispatch_table: ClassVar[Any] = ChainMap(
            _own_reducers,
            ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
            base.dispatch_table,
        )

        def __init__(self, file: io.BytesIO, receiver: _Nobody, is_message: bool, add_buffer: Any) -> None:
            super().__init__(file, buffer_callback=add_buffer)
            registered = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
            for kind, (known, in_message) in reduction.in_messages.items():
                if registered.get(kind) is known:
                    _own_reducers[kind] = in_message
                else:
                    _own_reducers.pop(kind, None)
            self.receiver, self.is_message = receiver, is_message
            self.is_result = isinstance(receiver, Results)
            self.main = _main_globals()
            self.sent: dict[str, Any] = {}
            self.globals_ref[id(self.main)] = _Globals(here=True)

        def reducer_override(self, obj: Any) -> Any:
            if _is_of_main(obj):
                if self.receiver.is_known(obj):
                    return NotImplemented  # by its name
                reduced = self.receiver.reduce_definition(obj) if self.is_message else NotImplemented
                if reduced is not NotImplemented:
                    return reduced
                name = obj.__name__
                if self.main.get(name) is obj:
                    self.sent[name] = obj
            reduced = super().reducer_override(obj)
            if not isinstance(obj, type) or not isinstance(reduced, tuple) or len(reduced) != 6:
                return reduced
            _complete.add(obj)
            return (*reduced[:5], _set_class_once) if self.is_result else reduced

        def _dynamic_function_reduce(self, function: Any) -> Any:
            reduced = super()._dynamic_function_reduce(function)
            if function.__globals__ is not self.main:
                return reduced
            make, arguments, (state, slots), *nothing, _ = reduced
            named = slots["__globals__"]
            come = self.receiver.must_come
            slots["__globals__"] = {name: value for name, value in named.items() if come(name, value)}
            return (make, arguments, (state, slots), *nothing, _add_state if self.is_result else _set_state)

    return Pickler


# ---- the receiver


class _Globals(dict[str, object]):
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


def _add_state(function: Any, state: Any) -> None:
    """The same for a function that is a result: all that is there already stays."""
    own, given = function.__globals__, state[1]["__globals__"]
    state[1]["__globals__"] = {name: obj for name, obj in given.items() if name not in own}
    _cloudpickle()._function_setstate(function, state)


#: Classes that have come from here, or arrived here as results: what results say of them is not news.
_complete: weakref.WeakSet[type] = weakref.WeakSet()


def _set_class_once(cls: type, state: Any) -> Any:
    if cls in _complete:
        return cls
    _complete.add(cls)
    return _cloudpickle()._class_setstate(cls, state)


#: Names that others have defined in this process's main module.
_arrived: set[str] = set()


def _define(definitions: dict[str, Any]) -> None:
    """Pickle must find them in the module when they, or their objects, are results."""
    _main_globals().update(definitions)
    _receiver_globals().update(definitions)
    _arrived.update(definitions)


def _arrive(data: bytes) -> Any:
    """Return what was sent, a function or class or what rests on one."""
    obj = pickle.loads(data)
    if _is_of_main(obj) and obj.__qualname__.isidentifier():
        _define({obj.__qualname__: obj})
    return obj


_loaded: dict[bytes, Any] = {}


def _arrive_once(token: bytes, data: bytes) -> Any:
    """Return a function or class that is sent with each message that needs it."""
    if token not in _loaded:
        if len(_loaded) >= _KEPT:
            _loaded.clear()
        _loaded[token] = _arrive(data)
    return _loaded[token]


def _arrive_as_message(data: bytes, *buffers: Any) -> Any:
    """Return arguments, or what pickle has refused; that has no place in the main module."""
    return pickle.loads(data, buffers=buffers)
