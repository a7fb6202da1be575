"""`multiprocessing.managers`: the server and its protocol are the standard library's.

The managers here start their server by fastmp's contexts and know fastmp's Pool; and, on every Python, what 3.14 has
added: `SyncManager.set`, `locked` of lock proxies, `clear` and `copy` of list proxies, and the operators of dictionary
proxies.
"""

from __future__ import annotations

import threading
from multiprocessing import managers as _managers
from multiprocessing.managers import *  # noqa: F403
from typing import Any

from .pool import Pool

_standard: Any = _managers  # its inner names have no declared types
SET_METHODS = (
    *("__and__", "__contains__", "__eq__", "__ge__", "__gt__", "__iter__", "__le__", "__len__", "__lt__", "__ne__"),
    *("__or__", "__rand__", "__ror__", "__rsub__", "__rxor__", "__sub__", "__xor__"),
    *("add", "clear", "copy", "difference", "difference_update", "discard", "intersection", "intersection_update"),
    *("isdisjoint", "issubset", "issuperset", "pop", "remove", "symmetric_difference"),
    *("symmetric_difference_update", "union", "update"),
)
IN_PLACE = ("__iand__", "__ior__", "__isub__", "__ixor__")

__all__ = list(_managers.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


class BaseManager(_standard.BaseManager):  # type: ignore[misc,no-redef]
    """A manager whose server is a process of fastmp's contexts, unless it is given another."""

    def __init__(self, *args: Any, ctx: Any = None, **kwargs: Any) -> None:
        from .context import _default_context

        if len(args) < 4:  # the fourth is the context
            kwargs["ctx"] = ctx or _default_context.get_context()
        super().__init__(*args, **kwargs)


class SharedMemoryManager(BaseManager, _standard.SharedMemoryManager):  # type: ignore[misc,no-redef]
    """A manager of shared memory segments: it removes those that it has made."""


class SyncManager(BaseManager, _standard.SyncManager):  # type: ignore[misc,no-redef]
    """A manager of the usual types, whose objects live in its server."""


class AcquirerProxy(_standard.AcquirerProxy):  # type: ignore[misc]
    """A lock in the server."""

    _exposed_ = ("acquire", "release", "locked")

    def locked(self) -> Any:
        """Return whether somebody holds it."""
        return self._callmethod("locked")


_BaseListProxy: Any = _standard.MakeProxyType("_BaseListProxy", (*_standard.BaseListProxy._exposed_, "clear", "copy"))
_BaseDictProxy: Any = _standard.MakeProxyType(
    "_BaseDictProxy", (*_standard.DictProxy._exposed_, "__ior__", "__or__", "__reversed__", "__ror__", "fromkeys")
)
_BaseDictProxy._method_to_typeid_ = {"__iter__": "Iterator", "__reversed__": "Iterator"}
_BaseSetProxy: Any = _standard.MakeProxyType("_BaseSetProxy", (*SET_METHODS, *IN_PLACE))

_BaseSetProxy._method_to_typeid_ = {"__iter__": "Iterator"}


class ListProxy(_BaseListProxy, _standard.ListProxy):  # type: ignore[misc]
    """A list in the server."""

    __iadd__ = _standard.ListProxy.__iadd__
    __imul__ = _standard.ListProxy.__imul__


class DictProxy(_BaseDictProxy, _standard.DictProxy):  # type: ignore[misc]
    """A dictionary in the server."""

    def __ior__(self, value: Any) -> DictProxy:
        self._callmethod("__ior__", (value,))
        return self


class SetProxy(_BaseSetProxy):  # type: ignore[misc]
    """A set in the server."""

    __hash__: Any = None  # as a set

    def __iand__(self, value: Any) -> SetProxy:
        self._callmethod("__iand__", (value,))
        return self

    def __ior__(self, value: Any) -> SetProxy:
        self._callmethod("__ior__", (value,))
        return self

    def __isub__(self, value: Any) -> SetProxy:
        self._callmethod("__isub__", (value,))
        return self

    def __ixor__(self, value: Any) -> SetProxy:
        self._callmethod("__ixor__", (value,))
        return self


def _register() -> None:
    SyncManager.register("Lock", threading.Lock, AcquirerProxy)
    if hasattr(threading.RLock(), "locked"):
        SyncManager.register("RLock", threading.RLock, AcquirerProxy)
    SyncManager.register("list", list, ListProxy)
    SyncManager.register("dict", dict, DictProxy)
    SyncManager.register("set", set, SetProxy)
    SyncManager.register("Pool", Pool, _standard.PoolProxy)


_register()
