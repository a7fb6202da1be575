"""A template: a process that a pool forks of itself when it is made, and that then forks the workers to come.

By the time that a worker has to be replaced, the parent may have threads, and a fork of a process with threads can
leave its child with locks that nobody will ever release. The template has one thread, and is what the parent was when
the pool was made. What it forks are the *parent's* children (clone(2) with CLONE_PARENT): the parent waits for them,
sends them signals and ends with them as with any other child.

    parent   --- place, name, identity ---> template
             <------- pid, or errno -------
             --------- nothing -----------> (it ends)

In a new pool it also forks the workers that are not there yet, before there is anything of Python in it: see
`_dormant.py`.

Called by: `fastmp/pool.py`, `fastmp/_pool_upkeep.py`, `fastmp/concurrent/futures/process.py`. Invariants:

- Without a template, or with one that is gone or does not answer, the parent forks as it always did: but if the
  template has made the process before it was killed, that one is taken. The kernel writes its pid to shared memory.
- The template runs no code of the user's, handles no signal, and ends with its parent.
"""

from __future__ import annotations

import errno
import marshal
import mmap
import os
import select
import signal
import sys
import threading
import weakref
from _socket import AF_UNIX, MSG_NOSIGNAL, SHUT_RDWR, SOCK_SEQPACKET, socket, socketpair
from contextlib import suppress
from functools import partial
from multiprocessing import util as _util

from . import _child, _core, popen_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

__all__ = ["Template", "is_forked"]

util: Any = _util  # its inner functions have no declared types

#: Seconds to wait for a template's answer.
PATIENCE = 5.0
LONGEST = 4096


def is_forked(process: Any) -> bool:
    """Whether this process has forked it, as fastmp does."""
    return type(getattr(process, "_popen", None)) is popen_fork.Popen


class Template:
    """The parent's side.

    Who makes it has it forked: by `fork_now`, or together with other children, and says so by `made`.

    :param maker: its `_make_worker`, called with a place and `parent` in the template's copy of everything, returns a
        process object that is not started. It is held weakly, as it may have this template
    :param crew: of a pool whose workers it forks when they are needed
    :raises OSError: if there can be no more descriptors
    """

    def __init__(self, maker: Any, parent: int | None, crew: _core.Crew | None = None) -> None:
        self.crew = crew
        self.lock = threading.RLock()  # who looks what has become of it, and of the workers that it forks
        self.is_new = True  # it is still to be forked
        self.is_over = False  # it was told to end
        self.code = 0  # how workers that it has not forked by then have ended
        self.used: Callable[[], None] | None = None  # frees what is used up once it is forked
        self._owner = os.getpid()
        self._maker, self._parent = weakref.ref(maker), parent
        self._signals = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.sockets: tuple[socket, socket] = socketpair(AF_UNIX, SOCK_SEQPACKET)  # the parent's, the template's
        self._socket, self._theirs = self.sockets
        self._pid: int | None = None
        self._told = mmap.mmap(-1, mmap.PAGESIZE)  # shared: the pid of the process that it has forked last
        self._pidfd = -1

    @property
    def pid(self) -> int | None:
        """Its process, None if there is none: not yet, or not any more."""
        return self._pid

    @property
    def has_ended(self) -> bool:
        """Whether it forks nobody any more, for certain."""
        with self.lock:
            return self._pid is None or popen_fork.readable(self._pidfd, 0)

    def made(self, pid: int | None) -> None:
        """It is this process, or there can be none; nor can there be if there is no descriptor to watch it."""
        if pid is not None:
            try:
                self._pidfd = _core.pidfd_open(pid)
                self._pid = pid
            except OSError:
                popen_fork.undo(pid)
        if self._pid is None:
            self._socket.close()
        elif self.crew is not None:
            self.crew.template_pid = self._pid
        self._theirs.close()
        self.is_new = False

    def fork_now(self) -> Template:
        """Fork it.

        :raises OSError: if there can be no more processes or descriptors
        """
        util._flush_std_streams()  # or each child would write the rest once more
        try:
            parent = _core.pidfd_open(self._owner)
        except OSError:
            self.forget()
            raise
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            self.made(self._fork(parent))
        finally:
            os.close(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._signals)
        if self._pid is None:
            raise OSError(errno.EMFILE, "no descriptor for a template")
        return self

    def _fork(self, parent: int) -> int:
        try:
            pid = _core.fork()
        except OSError:
            self.made(None)
            raise
        if pid == 0:
            self.serve(parent)
        return pid

    def serve(self, parent: int) -> NoReturn:
        """In the template, in which all signals are blocked: make workers until the end."""
        self._socket.close()
        make: Any = partial(self._maker()._make_worker, parent=self._parent)  # type: ignore[union-attr]
        _serve(self._theirs, parent, partial(_core.fork_sibling, self._told), make, self._signals)

    def forget(self) -> None:
        """No template is forked after all."""
        self._socket.close()
        self._theirs.close()

    def start(self, process: Any, place: int) -> None:
        """`process.start()`, but the template makes it."""
        process._Popen = partial(_Popen, template=self, place=place)
        try:
            process.start()
        finally:
            del process._Popen

    def fork(self, place: int, process: Any) -> int | None:
        """Let the template make the process; return its pid, None if the template cannot.

        :raises OSError: if there can be no more processes
        """
        if self._owner != os.getpid() or self._pid is None:
            return None
        self._told[:4] = bytes(4)
        if self.crew is not None:
            self.crew.wake()  # until all workers are there it is not asked for another
        answer = self._ask(marshal.dumps((place, str(process._name), process._identity)))
        if not answer:
            self.end()
            self.reap()
            return int.from_bytes(self._told[:4], sys.byteorder) or None
        number = int(answer)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number

    def _ask(self, question: bytes) -> bytes:
        """Return the answer, nothing if there is none. That the template is dead is no end of file: others hold it."""
        try:
            self._socket.send(question, MSG_NOSIGNAL)
            poller = select.poll()
            poller.register(self._socket, select.POLLIN)
            poller.register(self._pidfd, select.POLLIN)
            is_there = self._socket.fileno() in [fd for fd, _ in poller.poll(PATIENCE * 1000)]
            return self._socket.recv(LONGEST) if is_there else b""
        except OSError:
            return b""

    def end(self, code: int = 0) -> None:
        """Tell the template to end, and to fork nobody; `reap` waits for it."""
        if self._owner == os.getpid():
            self.code = self.code if self.is_over else code
            self.is_over = True
            self.free_used()  # before the template is woken, which may take the core of a worker that is to end
            if self.crew is not None:
                self.crew.close()
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def free_used(self) -> None:
        """Free what is used up: where there is no template, or while those who were forked end."""
        used, self.used = self.used, None
        if used is not None:
            used()

    def reap(self) -> None:
        """Wait for the end of a template that was told so; it is killed if that takes long."""
        if self._owner != os.getpid():
            return
        with self.lock:
            pid, self._pid = self._pid, None
            self._socket.close()
            if pid is not None:
                self._await_end(pid)

    def _await_end(self, pid: int) -> None:
        if not popen_fork.readable(self._pidfd, PATIENCE):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody who waits for all children has been faster
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        if self.crew is not None:
            self.crew.template_pid = -1
        _core.reaped(pid)
        os.close(self._pidfd)


class _Popen(popen_fork.Popen):
    """A child that the template has forked."""

    def __init__(self, process_obj: Any, template: Template, place: int) -> None:
        self._made_by = partial(template.fork, place)
        super().__init__(process_obj)

    def _launch(self, process_obj: Any) -> None:
        pid = self._made_by(process_obj)
        del self._made_by
        if pid is None:
            super()._launch(process_obj)
            return
        self._parent = os.getpid()
        self.pid = pid
        _core.adopt(pid)
        self._watch()


# ---- in the template


def _serve(
    ours: socket,
    parent: int,
    clone: Callable[[], int],
    make: Callable[[int], Any],
    signals: Iterable[int],
) -> NoReturn:
    try:
        poller = select.poll()
        poller.register(ours, select.POLLIN)
        poller.register(parent, select.POLLIN)
        while parent not in [fd for fd, _ in poller.poll()] and (question := ours.recv(LONGEST)):
            place, name, identity = marshal.loads(question)
            number = _fork(clone)
            if number == 0:
                ours.close()
                _become(partial(make, place), name, identity, parent, signals)
            ours.send(str(number).encode())
        _core.leave()
    finally:
        os._exit(0)


def _fork(clone: Callable[[], int]) -> int:
    """Return 0 in the child; here its pid, or an error's number below 0."""
    try:
        return clone()
    except OSError as error:
        return -(error.errno or 1)


def _become(make: Callable[[], Any], name: str, identity: list[int], parent: int, signals: Iterable[int]) -> NoReturn:
    """In the new process: be what the parent has started."""
    try:
        process = make()
        process._name, process._identity = name, tuple(identity)
        process._parent_pid = os.getppid()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        popen_fork.run_child(process, parent, _child.plain_child(process, parent))
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)
