"""`multiprocessing.forkserver`, with fastmp in the server before anything is preloaded.

The server, its protocol and its life are the standard library's; one server makes the children of both. It is started
with fastmp imported, so that no child need do that again, and if the parent has called `install()`, the modules that
it preloads find what the parent finds. When they are loaded the server itself becomes plain again: each child brings
with it whether it is to be installed (`fastmp/spawn.py`).

Called by: `fastmp/popen_forkserver.py`.
"""

from __future__ import annotations

import os
from importlib import import_module
from multiprocessing import forkserver as _standard
from multiprocessing.util import ForkAwareThreadLock

from ._install import install
from ._installed import is_installed
from .spawn import get_preparation_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["connect_to_new_process", "ensure_running", "get_inherited_fds", "set_forkserver_preload"]

standard: Any = _standard  # typeshed knows it on some platforms only
connect_to_new_process = standard.connect_to_new_process
get_inherited_fds = standard.get_inherited_fds
set_forkserver_preload = standard.set_forkserver_preload

#: What nearly every child needs.
_USUAL = ("fastmp", "fastmp.spawn", "fastmp.queues", "fastmp.synchronize", "fastmp.connection")

_lock = ForkAwareThreadLock()


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(standard, name)


class _Preload(list[str]):
    """The names of the modules to preload. The server's command line shows them as a call of `prepare_server`.

    It is the one place where code of ours comes before the first of the modules, on every version of the library.
    """

    def __repr__(self) -> str:
        path = f"__import__('sys').path.__setitem__(slice(None), {get_preparation_data('ignore')['sys_path']!r})"
        call = f"__import__('fastmp.forkserver', fromlist=['_']).prepare_server({list(self)!r}, {is_installed()!r})"
        return f"({path}, {call})[1]"


def ensure_running() -> None:
    """Make sure that the server runs; start it with fastmp if it does not."""
    server = standard._forkserver
    with _lock:
        if server._forkserver_pid is not None and not _is_child(server._forkserver_pid):
            _forget(server)
        names = server._preload_modules
        server._preload_modules = _Preload(names)
        try:
            server.ensure_running()
        finally:
            server._preload_modules = names


def _is_child(pid: int) -> bool:
    """Whether it is a child of this process that has not been reaped."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _forget(server: Any) -> None:
    """The server is that of the process which has forked this one, or something else has reaped it: another is needed.

    The standard library would wait for it, in vain.
    """
    os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def prepare_server(names: list[str], installs: bool) -> list[str]:
    """In the server, before it preloads: import fastmp. Return what is to be preloaded."""
    for name in _USUAL:
        import_module(name)
    if not (names and installs):
        return names
    install()
    return [*names, "fastmp._preloaded"]
