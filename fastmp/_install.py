"""`install`: fastmp's classes in the place of the standard library's, for every library in the process; and back.

The one file that changes other modules. Called by: users, `_fastmp_bootstrap`, `%load_ext fastmp`, `fastmp.spawn`.
What is replaced:

- the names in `MIRRORS`: standard contexts import from these modules whenever they make something, so that contexts
  and functions taken before are reached as well;
- the names in `FRONTS`, for all but the module's own functions: a standard Queue or ThreadPool that is in use calls
  its class by its global name, and must find itself;
- the contexts, and the class attributes through which standard contexts and process objects make a child;
- the functions of `multiprocessing` itself, which are bound methods of the default context;
- the copies that others keep: `concurrent.futures.ProcessPoolExecutor`, the Pool of `SyncManager`, and `get_context`.

Only what is in `sys.modules` is changed at once. The others of these modules are late: a finder sees their import, and
the first use of one puts fastmp's objects into it before the user has any; a program pays for what it uses. Until then
nobody has had a name of it: whatever is asked of a late module completes it first (`Late`), but for what the import
system asks, and for standard modules that import one another, which must find what they were written with. Locks:

- `_calls` serializes `install` and `uninstall`, which import modules meanwhile;
- `_lock` guards `_changes`, and nothing is imported while it is held: who waits for it may hold a module's import lock.

A class that a library has imported by name before `install()` stays what it was.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from ._installed import changes as _changes
from ._late import Finder, Late, make_late, make_plain, plain_class, standard_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["install", "installed", "uninstall"]

MIRRORS = {
    "multiprocessing.connection": ("Connection", "Pipe", "wait"),
    "multiprocessing.synchronize": ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
    "multiprocessing.sharedctypes": ("Array", "RawArray", "RawValue", "Value", "copy", "synchronized"),
    "multiprocessing.resource_sharer": ("DupFd",),
    "multiprocessing.spawn": ("get_start_method", "prepare", "set_start_method"),
    "multiprocessing.shared_memory": ("SharedMemory",),
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
EXECUTOR, MANAGERS = "concurrent.futures.process", "multiprocessing.managers"
COPY = "get_context"  # that some of them have imported from the package
REPLACED = frozenset({*MIRRORS, *FRONTS, MANAGERS})
ABSENT = object()

_calls = threading.RLock()
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

    def renew(self) -> None:
        """Put the new object there once more: the module was executed again."""
        self.old = self._now()
        self.apply()

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return the old object and the new one."""
        return [] if self.old is ABSENT else [(self.old, self.new)]

    def _now(self) -> Any:
        """What is there, not bound: class attributes may be static methods."""
        place = self.owner if isinstance(self.owner, dict) else vars(self.owner)
        return place.get(self.name, ABSENT)

    def _set(self, value: Any) -> None:
        if isinstance(self.owner, dict):
            self.owner[self.name] = value
        elif value is ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, value)


class _Front:
    """A module that shows fastmp's objects to others, while its own functions find what they were written with.

    Attributes of the module are looked up in its class first, global names of its functions in its dictionary only.
    """

    def __init__(self, module: ModuleType, ours: dict[str, Any], old_class: type[ModuleType]) -> None:
        self.owner = module
        self.ours = ours
        self.shown = dict(ours)
        self.old_class = old_class

    def apply(self) -> None:
        """Put up the front."""
        self.owner.__class__ = type(self.old_class.__name__, (self.old_class,), dict(map(self._attribute, self.ours)))

    def undo(self) -> None:
        """Take it away; what somebody has put there since goes into the module."""
        self.owner.__class__ = self.old_class
        for name, value in self.shown.items():
            if value is not self.ours[name]:
                setattr(self.owner, name, value)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return pairs of a hidden object and the one that is shown."""
        standard = self.standard()
        return [(standard[name], new) for name, new in self.ours.items()]

    def standard(self) -> dict[str, Any]:
        """Return what is hidden, by name."""
        return {name: vars(self.owner)[name] for name in self.ours}

    def renew(self) -> None:
        """The module was executed again: the front is up still."""

    def _attribute(self, name: str) -> tuple[str, property]:
        def show(_module: ModuleType) -> Any:
            return vars(self.owner)[name] if standard_view.depth else self.shown[name]

        def change(_module: ModuleType, value: Any) -> None:
            # `mock.patch` puts back what it has found in the dictionary.
            self.shown[name] = self.ours[name] if value is vars(self.owner)[name] else value

        return name, property(show, change)


def install() -> None:
    """Replace the internals of `multiprocessing` and `concurrent.futures` in place; a second call does nothing.

    Children have it too, by whatever start method.
    """
    with _calls:
        if _changes:
            return
        _carry_start_method("multiprocessing.context", "fastmp.context")
        try:
            _finder.arm()
            _replace_contexts()
            _complete_loaded()
        except BaseException:
            uninstall()
            raise


def uninstall() -> None:
    """Give every module its own objects back; does nothing if fastmp is not installed.

    Objects made meanwhile keep working: they are fastmp's for good.
    """
    with _calls:
        was_installed = bool(_changes)
        with _lock, standard_view:
            _finder.disarm()
            while _changes:
                _changes.pop().undo()
            for module in filter(None, map(sys.modules.get, REPLACED)):
                if isinstance(module, Late):
                    make_plain(module)
        if was_installed:
            _carry_start_method("fastmp.context", "multiprocessing.context")


@contextmanager
def installed() -> Iterator[None]:
    """Install for the time of a ``with`` block; inside an installation it changes nothing."""
    with _calls:
        outermost = not _changes
        install()
    try:
        yield
    finally:
        if outermost:
            uninstall()


def replacements() -> list[tuple[Any, Any]]:
    """Return pairs of a standard object and what stands in its place now; empty if fastmp is not installed."""
    return [pair for change in list(_changes) for pair in change.pairs()]


def hidden() -> dict[int, tuple[str, str]]:
    """Return where the standard classes and functions were, by identity: pickle does not find them there now."""
    places: dict[int, tuple[str, str]] = {}
    for change in list(_changes):
        if isinstance(change, _Front):
            places.update((id(old), (change.owner.__name__, name)) for name, old in change.standard().items())
        elif isinstance(change.owner, ModuleType) and callable(change.old):
            places.setdefault(id(change.old), (change.owner.__name__, change.name))
    return places


def original(module: str, name: str) -> Any:
    """Return what the standard library has under this name, whether fastmp is installed or not."""
    owner = import_module(module)
    with _lock, standard_view:
        for change in _changes:
            if isinstance(change, _Change) and change.owner is owner and change.name == name:
                return change.old
        return vars(owner)[name]


# ---- modules that are late


def _complete_loaded() -> None:
    """Complete what has been imported already, or is being imported by a thread that the finder has not seen."""
    on_their_way = getattr(sys.modules["_frozen_importlib"], "_module_locks", ())
    loaded = [import_module(name) for name in sorted(REPLACED) if name in sys.modules or name in on_their_way]
    for module in loaded:
        make_late(module, _complete)
    for module in loaded:  # one may complete another
        _complete(module)


def _executed(module: ModuleType) -> None:
    """The finder has seen a module's execution: it is late from now on, or complete as before if it was reloaded."""
    if not _finder.is_armed or sys.modules.get(module.__name__) is not module:
        return
    with _lock, standard_view:
        _forget_copies(module)
        own = [change for change in _changes if change.owner is module]
        for change in own:
            change.renew()
    if not own:
        make_late(module, _complete)


def _forget_copies(module: ModuleType) -> None:
    """What a standard module has imported from those that are changed is standard as well."""
    changes = [change for change in _changes if isinstance(change, _Change) and isinstance(change.owner, ModuleType)]
    standard = {id(change.new): change.old for change in changes}
    for name, value in list(vars(module).items()):
        if id(value) in standard:
            vars(module)[name] = standard[id(value)]


def _complete(module: ModuleType) -> None:
    """Put fastmp's objects into a late module."""
    name = module.__name__
    ours = _ours(name)
    with _lock, standard_view:
        if isinstance(module, Late):
            if not _finder.is_armed:
                make_plain(module)
                return
            if vars(module).get(COPY, ABSENT) is original("multiprocessing", COPY):
                _replace(module, COPY, getattr(sys.modules["multiprocessing"], COPY))
            if name in FRONTS:
                _make(_Front(module, ours, plain_class(module)))
            else:
                _replace_all(module, ours)
                make_plain(module)


def _ours(name: str) -> dict[str, Any]:
    """Return fastmp's objects for a standard module, by name."""
    if name == "multiprocessing.spawn":
        context = import_module("fastmp.context")._default_context
        with standard_view:
            prepare = import_module("fastmp.spawn").as_parent_is(import_module(name).prepare)
        methods = {function.__name__: function for function in (context.get_start_method, context.set_start_method)}
        return {"prepare": prepare, **methods}
    if name == MANAGERS:
        return {"Pool": import_module("multiprocessing.pool").Pool}
    with standard_view:
        source = import_module("fastmp." + name.removeprefix("multiprocessing."))
    return {export: getattr(source, export) for export in MIRRORS.get(name) or FRONTS[name]}


def _replace_all(module: ModuleType, ours: dict[str, Any]) -> None:
    if module.__name__ == MANAGERS:
        _replace_registered(vars(module)["SyncManager"]._registry, ours["Pool"])
        return
    for name, new in ours.items():
        _replace(module, name, new)
    package = sys.modules.get("concurrent.futures")
    if module.__name__ == EXECUTOR and package is not None:
        _replace(package, "ProcessPoolExecutor", ours["ProcessPoolExecutor"])


def _replace_registered(registry: dict[str, Any], pool: Any) -> None:
    """`SyncManager` has registered the Pool that was there when it was imported, if nobody has put another there."""
    registered, *rest = registry.get("Pool", (None,))
    if getattr(registered, "__module__", None) in POOL_MODULES:
        _replace(registry, "Pool", (pool, *rest))


_finder = Finder(REPLACED, "fastmp.", _executed)


# ---- the rest


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
    _replace(standard.BaseContext, "Pipe", ours.pipe)
    for method, context in ours._contexts.items():
        _replace(standard._concrete_contexts, method, context)
    for name in CONTEXTS:
        _replace(standard, name, getattr(ours, name))
    for name in package.__all__:
        _replace(package, name, getattr(ours._default_context, name))


def _carry_start_method(source: str, target: str) -> None:
    """Set the start method that was set for one default context for the other too."""
    actual = import_module(source)._default_context._actual_context
    if actual is not None:
        default = import_module(target)._default_context
        default._actual_context = default.get_context(actual._name)


def _new_locks() -> None:
    """In a forked child: another thread of the parent may have held one."""
    global _calls, _lock
    _calls, _lock = threading.RLock(), threading.RLock()


os.register_at_fork(after_in_child=_new_locks)
