"""A template: a process that a pool forks of itself when it is made, and that then forks the workers to come.

By the time that a worker has to be replaced, the parent may have threads, and a fork of a process with threads can
leave its child with locks that nobody will ever release. The template has one thread, and is what the parent was when
the pool was made. What it forks are the *parent's* children (clone(2) with CLONE_PARENT): the parent waits for them,
sends them signals and ends with them as with any other child.

    parent   --- place, name, identity ---> template
             <------- pid, or errno -------
             --------- nothing -----------> (it ends)

In a pool whose workers sleep before they begin, it is the last of those that forks the template, when it begins: a pool
that ends before has none, and needs none (`left_to`).

Called by: `fastmp/pool.py`, `fastmp/concurrent/futures/process.py`. Invariants:

- Without a template, or with one that is gone or does not answer, the parent forks as it always did: but if the
  template has made the process before it was killed, that one is taken. The kernel writes its pid to shared memory.
- The template runs no code of the user's, handles no signal, and ends with its parent.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import util as _util

from . import _child, _core, popen_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn

__all__ = ["Template", "is_forked"]

util: Any = _util  # its inner functions have no declared types

#: Seconds to wait for a template's answer.
PATIENCE = 5.0
LONGEST = 4096
# Of the memory that is shared with it: the pid of the process that it has forked last, and its own if it is `left_to`
# another process to fork it; and whether it has been given up.
CHILD = slice(0, 4)
OWN = slice(4, 8)
OVER = 8


def is_forked(process: Any) -> bool:
    """Whether this process has forked it, as fastmp does."""
    return type(getattr(process, "_popen", None)) is popen_fork.Popen


class Template:
    """The parent's side.

    Who makes it has it forked: by `fork_now`, or together with other children, in the middle of `begin`'s block.

    :param make: called with a place in the template's copy of everything: a process object that is not started
    :param is_late: the last of the children that are forked with it forks it, when that one begins
    :raises OSError: if there can be no more descriptors
    """

    def __init__(self, make: Callable[[int], Any], is_late: bool = False) -> None:
        self.is_late = is_late
        self._owner = os.getpid()
        self._make = make
        self._signals = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid: int | None = None
        self._told = mmap.mmap(-1, mmap.PAGESIZE)  # shared
        self._pidfd = -1
        self._is_over = False
        self._maker: tuple[Any, Callable[[], None]] | None = None  # who is to fork it, and how to wake that one

    @property
    def pid(self) -> int | None:
        """Its process, None if there is none: not yet, or not any more."""
        if self._pid is None and self.is_late and self._owner == os.getpid():
            self._meet()
        return self._pid

    @property
    def is_expected(self) -> bool:
        """Whether it is there, or somebody is to fork it."""
        return not self._is_over and (self._maker is not None or self.pid is not None)

    def told(self) -> memoryview:
        """Return where its pid is written when it is late."""
        return memoryview(self._told)[OWN]

    def made(self, pid: int) -> None:
        """Between the fork and the end of `begin`'s block: it is this process."""
        self._pid = pid

    def left_to(self, maker: Any, wake: Callable[[], None]) -> None:
        """It is forked when the process `maker` begins, for which `wake` is called if it is needed before."""
        self._maker = maker, wake

    def undo(self) -> None:
        """End one that was late: who was to fork it has been ended."""
        if self.pid is not None:
            self.end()
            self.reap()
        self._socket.close()

    def _meet(self) -> None:
        """Learn whether a late one has been forked by now."""
        pid = int.from_bytes(self._told[OWN], sys.byteorder)
        if pid == 0:
            return
        self._told[OWN] = bytes(4)
        self._maker = None
        _core.adopt(pid)
        try:
            self._pidfd = _core.pidfd_open(pid)
            self._pid = pid
        except ProcessLookupError:  # it was killed, and somebody who waits for all children has reaped it
            _core.reaped(pid)
        except OSError:
            popen_fork.undo(pid)

    def fork_now(self) -> Template:
        """Fork it.

        :raises OSError: if there can be no more processes or descriptors
        """
        util._flush_std_streams()  # or each child would write the rest once more
        with self.begin() as parent:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            try:
                self._pid = _core.fork()
                if self._pid == 0:
                    self.serve(parent)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, self._signals)
        return self

    @contextmanager
    def begin(self) -> Iterator[int]:
        """While it is forked: `made` is called in it, or there is none yet. The value is a pidfd of this process."""
        parent = -1
        try:
            parent = _core.pidfd_open(self._owner)
            yield parent
            if self._pid is not None:
                self._pidfd = _core.pidfd_open(self._pid)
        except BaseException:
            pid, self._pid = self._pid, None
            if pid is not None:
                popen_fork.undo(pid)
            raise
        finally:
            del self._make  # it may refer to who has this template
            if parent >= 0:
                os.close(parent)
            self.theirs.close()
            if self._pid is None and not self.is_late:
                self._socket.close()

    def serve(self, parent: int) -> NoReturn:
        """In the template, in which all signals are blocked: make workers until the end."""
        self._socket.close()
        if self._told[OVER]:
            _core.leave()
            os._exit(0)
        _serve(self.theirs, parent, partial(_core.fork_sibling, self._told), self._make, self._signals)

    def forget(self) -> None:
        """In a child that was forked while the template was, too, and where no template is forked after all."""
        self._socket.close()
        self.theirs.close()

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
        if self._owner != os.getpid() or not self.is_expected:
            return None
        self._told[CHILD] = bytes(4)
        answer = self._ask(marshal.dumps((place, str(process._name), process._identity)))
        if not answer:
            self._is_over = True
            self._told[OVER] = 1  # before `reap` looks whether it is there: one that is made later meets the question
            self.end()
            self.reap()
            return int.from_bytes(self._told[CHILD], sys.byteorder) or None
        number = int(answer)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number

    def _ask(self, question: bytes) -> bytes:
        """Return the answer, nothing if there is none. That the template is dead is no end of file: others hold it."""
        try:
            self._socket.send(question, socket.MSG_NOSIGNAL)
            is_there = False
            if self.pid is None and self._maker is not None:
                maker, wake = self._maker
                wake()
                is_there = self._has_answer(maker.sentinel)
            is_there = is_there or (self.pid is not None and self._has_answer(self._pidfd))
            return self._socket.recv(LONGEST) if is_there else b""
        except (OSError, ValueError):  # the latter: somebody has closed the worker's process object
            return b""

    def _has_answer(self, sentinel: int) -> bool:
        """Wait for an answer or the end of a process."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(sentinel, select.POLLIN)
        return self._socket.fileno() in [fd for fd, _ in poller.poll(PATIENCE * 1000)]

    def end(self) -> None:
        """Tell the template to end; `reap` waits for it."""
        if self._owner == os.getpid():
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def reap(self) -> None:
        """Wait for the end of a template that was told so; it is killed if that takes long."""
        if self._owner != os.getpid():
            return
        pid, self._pid = self.pid, None
        self._socket.close()
        if pid is None:
            return
        if not popen_fork.readable(self._pidfd, PATIENCE):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody who waits for all children has been faster
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
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
    ours: socket.socket,
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
