"""`install`: fastmp's classes in the place of the standard library's, for every library in the process; and back.

The one file that changes other modules. Called by: users, `_fastmp_bootstrap`, `%load_ext fastmp`. What is replaced:

- the names in `MIRRORS`: standard contexts import from these modules whenever they make something, so that contexts
  and functions taken before are reached as well;
- the names in `FRONTS`, for all but the module's own functions: a standard Queue or ThreadPool that is in use calls
  its class by its global name, and must find itself;
- the contexts, and the class attributes through which standard contexts and process objects make a child;
- the functions of `multiprocessing` itself, which are bound methods of the default context;
- the copies that others keep: `concurrent.futures.ProcessPoolExecutor`, and the Pool of `SyncManager`.

A class that a library has imported by name before `install()` stays what it was.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from ._installed import changes as _changes

__all__ = ["install", "installed", "uninstall"]

MIRRORS = {
    "multiprocessing.connection": ("Connection", "Pipe", "wait"),
    "multiprocessing.synchronize": ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
    "multiprocessing.sharedctypes": ("Array", "RawArray", "RawValue", "Value", "copy", "synchronized"),
    "concurrent.futures.process": ("ProcessPoolExecutor",),
}
FRONTS = {
    "multiprocessing.queues": ("JoinableQueue", "Queue", "SimpleQueue"),
    "multiprocessing.pool": ("Pool",),
}
CONTEXTS = (
    "Process",
    "ForkProcess",
    "SpawnProcess",
    "ForkServerProcess",
    "DefaultContext",
    "ForkContext",
    "SpawnContext",
    "ForkServerContext",
    "_default_context",
)
POOL_MODULES = ("multiprocessing.pool", "fastmp.pool")
ABSENT = object()

_lock = threading.RLock()


class _Change:
    """One attribute or dictionary entry that holds fastmp's object instead of the standard one."""

    def __init__(self, owner: Any, name: str, new: Any) -> None:
        self.owner = owner
        self.name = name
        self.new = new
        self.old = self._now()

    def apply(self) -> None:
        """Put the new object there."""
        self._set(self.new)

    def undo(self) -> None:
        """Put the old object back, unless somebody has put a third one there since."""
        if self._now() is self.new:
            self._set(self.old)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return the old object and the new one."""
        return [] if self.old is ABSENT else [(self.old, self.new)]

    def _now(self) -> Any:
        """What is there, not bound: class attributes may be static methods."""
        place = self.owner if isinstance(self.owner, MutableMapping) else vars(self.owner)
        return place.get(self.name, ABSENT)

    def _set(self, value: Any) -> None:
        if isinstance(self.owner, MutableMapping):
            self.owner[self.name] = value
        elif value is ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, value)


class _Front:
    """A module that shows fastmp's objects to others, while its own functions find what they were written with.

    Attributes of the module are looked up in its class first, global names of its functions in its dictionary only.
    """

    def __init__(self, module: ModuleType, ours: dict[str, Any]) -> None:
        self.module = module
        self.ours = ours
        self.shown = dict(ours)
        self.old_class = type(module)

    def apply(self) -> None:
        """Put up the front."""
        self.module.__class__ = type(self.old_class.__name__, (self.old_class,), dict(map(self._attribute, self.ours)))

    def undo(self) -> None:
        """Take it away; what somebody has put there since goes into the module."""
        self.module.__class__ = self.old_class
        for name, value in self.shown.items():
            if value is not self.ours[name]:
                setattr(self.module, name, value)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return pairs of a hidden object and the one that is shown."""
        return [(vars(self.module)[name], new) for name, new in self.ours.items()]

    def _attribute(self, name: str) -> tuple[str, property]:
        def show(_module: ModuleType) -> Any:
            return self.shown[name]

        def change(_module: ModuleType, value: Any) -> None:
            self.shown[name] = value

        return name, property(show, change)


def install() -> None:
    """Replace the internals of `multiprocessing` and `concurrent.futures` in place; a second call does nothing.

    Children have it too, by whatever start method.
    """
    with _lock:
        if _changes:
            return
        mirrors, fronts = _import_pairs(MIRRORS), _import_pairs(FRONTS)
        _carry_start_method("multiprocessing.context", "fastmp.context")
        try:
            _replace_contexts()
            for standard, ours in mirrors:
                for name, new in ours.items():
                    _replace(standard, name, new)
            for standard, ours in fronts:
                _make(_Front(standard, ours))
            _replace_copies()
        except BaseException:
            uninstall()
            raise


def uninstall() -> None:
    """Give every module its own objects back; does nothing if fastmp is not installed.

    Objects made meanwhile keep working: they are fastmp's for good.
    """
    with _lock:
        was_installed = bool(_changes)
        while _changes:
            _changes.pop().undo()
        if was_installed:
            _carry_start_method("fastmp.context", "multiprocessing.context")
            _update_manager_pool()


@contextmanager
def installed() -> Iterator[None]:
    """Install for the time of a ``with`` block; inside an installation it changes nothing."""
    with _lock:
        outermost = not _changes
        install()
    try:
        yield
    finally:
        if outermost:
            uninstall()


def replacements() -> list[tuple[Any, Any]]:
    """Return pairs of a standard object and what stands in its place now; empty if fastmp is not installed."""
    return [pair for change in _changes for pair in change.pairs()]


def hidden() -> dict[int, tuple[str, str]]:
    """Return where the standard classes and functions were, by identity: pickle does not find them there now."""
    places: dict[int, tuple[str, str]] = {}
    for change in _changes:
        if isinstance(change, _Front):
            places.update((id(vars(change.module)[name]), (change.module.__name__, name)) for name in change.ours)
        elif isinstance(change.owner, ModuleType) and callable(change.old):
            places.setdefault(id(change.old), (change.owner.__name__, change.name))
    return places


def original(module: str, name: str) -> Any:
    """Return what the standard library has under this name, whether fastmp is installed or not."""
    for change in _changes:
        if isinstance(change, _Change) and (getattr(change.owner, "__name__", ""), change.name) == (module, name):
            return change.old
    return vars(import_module(module))[name]


def _import_pairs(table: dict[str, tuple[str, ...]]) -> list[tuple[ModuleType, dict[str, Any]]]:
    """Import the modules of a table: each standard one with fastmp's objects for it, by name."""
    pairs = []
    for name, exports in table.items():
        standard, ours = import_module(name), import_module("fastmp." + name.removeprefix("multiprocessing."))
        pairs.append((standard, {export: getattr(ours, export) for export in exports}))
    return pairs


def _replace(owner: Any, name: str, new: Any) -> None:
    change = _Change(owner, name, new)
    if change.old is not new:
        _make(change)


def _make(change: _Change | _Front) -> None:
    _changes.append(change)
    change.apply()


def _replace_contexts() -> None:
    package, standard, ours = map(import_module, ("multiprocessing", "multiprocessing.context", "fastmp.context"))
    # Standard contexts and process objects that others hold make fastmp's children.
    _replace(standard.DefaultContext, "Process", ours.Process)
    for method in ("Fork", "Spawn", "ForkServer"):
        process = getattr(ours, f"{method}Process")
        _replace(getattr(standard, f"{method}Context"), "Process", process)
        _replace(getattr(standard, f"{method}Process"), "_Popen", vars(process)["_Popen"])
    for name in ("get_start_method", "set_start_method"):  # a child prepared by standard code has ours
        _replace(import_module("multiprocessing.spawn"), name, getattr(ours._default_context, name))
    for method, context in ours._contexts.items():
        _replace(standard._concrete_contexts, method, context)
    for name in CONTEXTS:
        _replace(standard, name, getattr(ours, name))
    for name in package.__all__:
        _replace(package, name, getattr(ours._default_context, name))


def _replace_copies() -> None:
    process = import_module("concurrent.futures.process")
    _replace(import_module("concurrent.futures"), "ProcessPoolExecutor", process.ProcessPoolExecutor)
    _update_manager_pool()


def _update_manager_pool() -> None:
    """`SyncManager` has registered the Pool that was there when it was imported: register the one that is there now."""
    managers = sys.modules.get("multiprocessing.managers")
    registry = managers.SyncManager._registry if managers else {}
    registered, *rest = registry.get("Pool", (None,))
    if getattr(registered, "__module__", None) in POOL_MODULES:
        registry["Pool"] = (import_module(POOL_MODULES[0]).Pool, *rest)


def _carry_start_method(source: str, target: str) -> None:
    """Set the start method that was set for one default context for the other too."""
    actual = import_module(source)._default_context._actual_context
    if actual is not None:
        default = import_module(target)._default_context
        default._actual_context = default.get_context(actual._name)


def _new_lock() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_new_lock)
