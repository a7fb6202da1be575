"""`multiprocessing.managers`: the server and its protocol are the standard library's, calls go over rings.

A proxy connects to its server as in the standard library, by a socket with authentication. It then asks for a pipe of
fastmp's, and each thread's calls go over that; a server that has none to offer (the standard library's, or one of
another family of processes) is spoken to by the socket. What a call over a pipe consists of is done in C on both sides
(`csrc/py/connection_call.c`); the standard library's code does what is left, and all if it is overridden.

The managers here start their server by fastmp's contexts and know fastmp's Pool; and, on every Python, what 3.14 has
added: `SyncManager.set`, `locked` of lock proxies, `clear` and `copy` of list proxies, and the operators of dictionary
proxies.
"""

from __future__ import annotations

import threading
import traceback
from multiprocessing import managers as _managers
from multiprocessing import util
from multiprocessing.managers import *  # noqa: F403
from multiprocessing.process import current_process

from . import (
    _core,
    resource_sharer,  # noqa: F401  each process that calls a manager gets a pipe by it: imported once, before they fork
)
from .connection import Connection, Pipe
from .pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_standard: Any = _managers  # its inner names have no declared types
_standard_loop = _standard.Server.serve_client  # a loop in its place, wherever it is put, sees each request
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


class Server(_standard.Server):  # type: ignore[misc]
    """A manager's server, with pipes for the proxies of this machine."""

    public = (*_standard.Server.public, "accept_pipe")

    def accept_pipe(self, connection: Any, name: str, family: bytes) -> None:
        """Send one end of a pipe, and when it has arrived serve the other in this thread, which gets that name.

        Only processes of one family, by the token of their region, have memory for it.
        """
        if family != _core.region()[1]:
            raise ValueError("this manager's server is of another family of processes")
        mine, theirs = Pipe()
        with mine:
            with theirs:
                connection.send(("#RETURN", theirs))
                connection.recv()
            connection.close()
            threading.current_thread().name = name
            if getattr(self.serve_client, "__func__", None) is _standard_loop:
                served: Any = mine
                served.__class__, served.server = _ServedPipe, self
            self.serve_client(mine)


class _ServedPipe(Connection):
    """The server's end: answers in C what needs nothing of the server but to call a method and to send what it returns.

    The standard library's loop receives the requests that are left: proxies to be made, names that no method has.
    """

    server: Server

    def recv(self) -> Any:
        return self._serve(self.server.id_to_obj, self.server.stop_event.is_set)

    def _cannot_answer(self, error: Exception) -> None:
        """What the method has returned or raised could not be sent."""
        self.send(("#UNSERIALIZABLE", "".join(traceback.format_exception(error))))


class BaseManager(_standard.BaseManager):  # type: ignore[misc,no-redef]
    """A manager whose server is a process of fastmp's contexts, unless it is given another."""

    _Server = Server

    def __init__(self, *args: Any, ctx: Any = None, **kwargs: Any) -> None:
        from .context import _default_context

        if len(args) < 4:  # the fourth is the context
            kwargs["ctx"] = ctx or _default_context.get_context()
        super().__init__(*args, **kwargs)

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the server process; `initializer(*initargs)` is called there first."""
        _core.region()  # made now, or a forked server would have one of its own
        super().start(*args, **kwargs)

    @classmethod
    def register(cls, typeid: str, callable: Any = None, proxytype: Any = None, *args: Any, **kwargs: Any) -> None:
        """Register a type of shared objects; `proxytype` is AutoProxy unless another is given."""
        super().register(typeid, callable, proxytype or AutoProxy, *args, **kwargs)


_no_pipes: set[str] = set()  # addresses of servers that have none


class _Answered:
    """A proxy whose call has been answered: for what the standard library's `_callmethod` does then."""

    def __init__(self, proxy: Any, answer: Any) -> None:
        self._proxy = proxy
        self._answer = answer
        self._tls = self.connection = self

    def send(self, request: Any) -> None:
        """It has been sent."""

    def recv(self) -> Any:
        return self._answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proxy, name)


class BaseProxy(_standard.BaseProxy):  # type: ignore[misc,no-redef]
    """A reference to an object in a manager's server."""

    _callmethod = _core.proxy_callmethod  # in C; and then one of the next two

    def _call_standard(self, methodname: str, args: Any, kwds: Any) -> Any:
        """Call a method with no pipe of ours at hand, though perhaps with one from now on."""
        return super()._callmethod(methodname, args, kwds)

    def _answered(self, answer: Any) -> Any:
        """Return the proxy, or raise the error, that the server has answered with."""
        return _standard.BaseProxy._callmethod(_Answered(self, answer), "")

    def _connect(self) -> None:
        address = self._token.address
        if self._serializer == "pickle" and isinstance(address, str) and address not in _no_pipes:
            pipe = self._pipe()
            if pipe is not None:
                self._tls.connection = pipe
                return
        super()._connect()

    def _pipe(self) -> Connection | None:
        """Return a pipe to the server, or None if it cannot be had."""
        thread = threading.current_thread().name
        name = current_process().name + ("" if thread == "MainThread" else f"|{thread}")
        try:
            with self._Client(self._token.address, authkey=self._authkey) as connection:
                pipe: Connection = _standard.dispatch(connection, None, "accept_pipe", (name, _core.region()[1]))
                connection.send(None)
        except _standard.RemoteError:
            _no_pipes.add(self._token.address)
        except (OSError, EOFError) as error:
            util.debug("no pipe to the manager at %r: %s", self._token.address, error)
        else:
            return pipe
        return None

    def __reduce__(self) -> Any:
        rebuild, (kind, *rest) = super().__reduce__()
        return rebuild, (AutoProxy if kind is _standard.AutoProxy else kind, *rest)


def MakeProxyType(name: str, exposed: Any, _cache: Any = {}) -> Any:  # noqa: B006
    """Return a type of proxies with the methods that `exposed` names."""
    key = (name, tuple(exposed))
    if key not in _cache:
        standard = _standard.MakeProxyType(*key)
        _cache[key] = type(name, (BaseProxy, standard), {"_exposed_": key[1]})
    return _cache[key]


def AutoProxy(token: Any, serializer: str, *args: Any, **kwargs: Any) -> Any:
    """Return a proxy with all public methods of its object."""
    proxy = _standard.AutoProxy(token, serializer, *args, **kwargs)
    proxy.__class__ = MakeProxyType(type(proxy).__name__, proxy._exposed_)
    return proxy


class SharedMemoryManager(BaseManager, _standard.SharedMemoryManager):  # type: ignore[misc,no-redef]
    """A manager of shared memory segments: it removes those that it has made."""


class SyncManager(BaseManager, _standard.SyncManager):  # type: ignore[misc,no-redef]
    """A manager of the usual types, whose objects live in its server."""


class IteratorProxy(BaseProxy, _standard.IteratorProxy):  # type: ignore[misc]
    """An iterator in the server."""


class EventProxy(BaseProxy, _standard.EventProxy):  # type: ignore[misc]
    """An event in the server."""


class ConditionProxy(BaseProxy, _standard.ConditionProxy):  # type: ignore[misc]
    """A condition in the server."""


class BarrierProxy(BaseProxy, _standard.BarrierProxy):  # type: ignore[misc]
    """A barrier in the server."""


class NamespaceProxy(BaseProxy, _standard.NamespaceProxy):  # type: ignore[misc]
    """An object with attributes, in the server."""


class ValueProxy(BaseProxy, _standard.ValueProxy):  # type: ignore[misc]
    """A value in the server."""


class ArrayProxy(BaseProxy, _standard.ArrayProxy):  # type: ignore[misc]
    """An array in the server."""


class PoolProxy(BaseProxy, _standard.PoolProxy):  # type: ignore[misc]
    """A pool in the server."""


class AcquirerProxy(BaseProxy, _standard.AcquirerProxy):  # type: ignore[misc]
    """A lock in the server."""

    _exposed_ = ("acquire", "release", "locked")

    def locked(self) -> Any:
        """Return whether somebody holds it."""
        return self._callmethod("locked")


_BaseListProxy: Any = MakeProxyType("_BaseListProxy", (*_standard.BaseListProxy._exposed_, "clear", "copy"))
_BaseDictProxy: Any = MakeProxyType(
    "_BaseDictProxy", (*_standard.DictProxy._exposed_, "__ior__", "__or__", "__reversed__", "__ror__", "fromkeys")
)
_BaseDictProxy._method_to_typeid_ = {"__iter__": "Iterator", "__reversed__": "Iterator"}
_BaseSetProxy: Any = MakeProxyType("_BaseSetProxy", (*SET_METHODS, *IN_PLACE))

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


OURS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(AcquirerProxy, ArrayProxy, AutoProxy, BarrierProxy, ConditionProxy, DictProxy, EventProxy, IteratorProxy),
        *(ListProxy, NamespaceProxy, PoolProxy, ValueProxy),
    )
}


def _register() -> None:
    for typeid, (kind, exposed, made_by_methods, proxy) in list(_standard.SyncManager._registry.items()):
        creates = hasattr(SyncManager, typeid)
        SyncManager.register(typeid, kind, OURS[proxy.__name__], exposed, made_by_methods, creates)
    SyncManager.register("Lock", threading.Lock, AcquirerProxy)
    if hasattr(threading.RLock(), "locked"):
        SyncManager.register("RLock", threading.RLock, AcquirerProxy)
    SyncManager.register("list", list, ListProxy)
    SyncManager.register("dict", dict, DictProxy)
    SyncManager.register("set", set, SetProxy)
    SyncManager.register("Pool", Pool, PoolProxy)


_register()
