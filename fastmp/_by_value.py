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

import sys
import weakref
from functools import partial, reduce
from types import MethodType, ModuleType

from ._by_value_arrive import arrived, cloudpickle, is_definition, is_of_main, main_globals
from ._by_value_pickle import REFUSALS, ByValue, Receiver
from ._installed import is_installed
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Results", "Sender", "begin_results", "dumps_result", "goes_by_value"]


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
    return isinstance(error, REFUSALS) and not is_installed() and cloudpickle() is not None


class Sender(Receiver):
    """What the workers of one pool know of the main module, and what to send in the place of what they do not.

    :param forked: whether they are forked, and so know what is there now; others know what the file defines
    """

    def __init__(self, forked: bool) -> None:
        main = sys.modules["__main__"]
        names = dict(vars(main)) if forked or _is_importable(main) else {}
        self.known = {id(obj): weakref.ref(obj) for obj in names.values() if is_definition(obj)}
        self.names = frozenset(names) if forked else frozenset()
        self._sent: dict[object, ByValue] = {}

    def __call__(self, function: Any, error: BaseException | None) -> Any:
        """Return what is pickled in the place of a callable, or None: itself.

        :param error: what pickle has said; None: it has not been asked yet
        """
        if error is not None:
            return ByValue(function, self, is_message=True) if _may_replace(error) else None
        if not self._is_new(function) or cloudpickle() is None:
            return None
        return self._sent_for(function) if is_definition(function) else ByValue(function, self)

    def refused(self, payload: Any, error: BaseException) -> Any:
        """Return what is pickled in the place of arguments that pickle has refused, or None: they are refused."""
        return ByValue(payload, self, error, is_message=True) if _may_replace(error) else None

    def reduce_definition(self, definition: Any) -> Any:
        """Return how a function or class of the main module is pickled among arguments; NotImplemented: by its name."""
        if self.is_known(definition) or not _is_found(definition) or cloudpickle() is None:
            return NotImplemented
        root, _, path = definition.__qualname__.partition(".")
        if path:
            return reduce, (getattr, path.split("."), main_globals()[root])
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
        definition = function if is_definition(function) else type(function)
        return is_of_main(definition) and not self.is_known(definition) and _is_found(definition)

    def is_known(self, obj: Any) -> bool:
        """Whether the workers have this function or class; a part of a class is known with the class."""
        root = obj
        if "." in obj.__qualname__:
            if not _is_found(obj):
                return False
            root = main_globals().get(obj.__qualname__.partition(".")[0])
        known = self.known.get(id(root))
        return known is not None and known() is root

    def has(self, name: str) -> bool:
        """Whether the workers' main module has something of this name."""
        return name in self.names


class Results(Receiver):
    """In a worker, before its first task: what its parent knows, and what to send for what pickle refuses.

    :param names: what the parent's main module has, and what it sends is known, too
    """

    is_parent = True

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def refused(self, result: Any, error: BaseException) -> Any:
        """Return what is pickled in the place of a result that pickle has refused, or None: it is refused."""
        return ByValue(result, self, error, is_message=True) if _may_replace(error) else None

    def is_known(self, obj: Any) -> bool:
        """Whether the parent has this function or class."""
        return self.has(obj.__qualname__.partition(".")[0]) and _is_found(obj)

    def has(self, name: str) -> bool:
        """Whether the parent's main module has something of this name."""
        return name in self._names or name in arrived

    def must_come(self, name: str, value: Any) -> bool:
        """Whether this global of a function goes along with it."""
        return not self.has(name)


_results: Results | None = None


def begin_results(results: Results | None = None) -> Results:
    """In a worker: these are its results. By default the parent has all that is in the main module now."""
    global _results
    _results = results or Results(frozenset(main_globals()))
    return _results


def dumps_result(obj: Any) -> bytes:
    """In a worker: pickle a part of a result."""
    try:
        return bytes(ForkingPickler.dumps(obj))
    except REFUSALS as error:
        instead = _results.refused(obj, error) if _results is not None else None
        if instead is None:
            raise
    instead.has_buffers = False
    return bytes(ForkingPickler.dumps(instead))


def goes_by_value(obj: Any) -> ByValue | None:
    """What is pickled for a child that is not forked in the place of a function or class; None: itself."""
    if not is_definition(obj):
        return None
    if _is_found(obj):
        if not is_of_main(obj) or _is_importable(sys.modules["__main__"]):
            return None
    elif is_installed():
        return None
    return ByValue(obj, Receiver()) if cloudpickle() is not None else None
