"""The workers of a pool: they are made, replaced when they end, and ended with their pool.

Called by: `fastmp.pool`, whose Pool is an Upkeep; csrc/pool/, through the crew's `maintain`, when a worker has ended.
Invariants:

- Once the pool is made, `_lock` is held where a worker is started or buried: a place has one worker.
- No worker is started once `_ended` is set.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import util as _util
from multiprocessing.pool import CLOSE, RUN

from ._by_value import Results
from ._dormant import may_sleep, start_all
from ._errors import WorkerDied
from ._pool_worker import take_tasks, work
from ._template import Template, is_forked
from ._workers import end_worker, parent_to_follow, worker_died

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import _core

util: Any = _util


class Upkeep:
    """The half of Pool that keeps its workers. Pool sets the attributes."""

    if TYPE_CHECKING:
        Process: Callable[..., Any]
        _pool: list[Any]
        _places: dict[int, Any]
        _processes: int
        _state: str
        _ctx: Any
        _initializer: Callable[..., Any] | None
        _initargs: Iterable[Any]
        _maxtasksperchild: int | None
        _wrap_exception: bool
        _failed_starts: int
        _lock: threading.RLock
        _ended: threading.Event
        _template: Template | None
        _terminate: Any
        _crew: _core.Crew

    def _has_usual_process(self) -> bool:
        """Whether nobody has put a `Process` of his own in the place of Pool's."""
        raise NotImplementedError

    def _populate_pool(self) -> None:
        """Start all workers, or none if one cannot be."""
        try:
            if not self._start_dormant():
                self._repopulate_pool()
                self._template = self._make_template()
            if self._terminate is None:
                self._arm()
        except BaseException:
            if self._terminate is not None:
                self._terminate.cancel()
            if self._template is not None:
                self._template.end()
            for process in self._pool:
                process.terminate()
            for process in self._pool:
                process.join()
            if self._template is not None:
                self._template.reap()
            raise

    def _arm(self) -> None:
        """From now on the workers end with the pool."""
        parts = (self._crew, self._pool, self._places, self._lock, self._ended, self._template)
        self._terminate = util.Finalize(self, self._terminate_pool, args=parts, exitpriority=15)

    def _repopulate_pool(self) -> None:
        """Start workers until there are as many as there should be."""
        with self._lock:  # the helper may be at it, too: two workers in one place, and one of them never ends
            for place in range(self._processes):
                if place not in self._places:
                    self._start_worker(place)

    def _make_worker(self, place: int, parent: int | None) -> Any:
        settings = (self._initializer, self._initargs, self._maxtasksperchild, self._wrap_exception)
        return self._make_process(work, self._crew, place, *settings, parent)

    def _make_dormant_workers(self, parent: int) -> list[Any]:
        """Return the processes; `parent` is a descriptor of this one."""
        sender = self._crew.by_value
        settings = (self._maxtasksperchild, self._wrap_exception, parent, Results(sender.names), sender)
        return [self._make_process(take_tasks, self._crew, place, *settings) for place in range(self._processes)]

    def _make_process(self, target: Callable[..., None], *args: Any) -> Any:
        process = self.Process(self._ctx, target=target, args=args)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        return process

    def _start_dormant(self) -> bool:
        """Start the workers, most of which are forked when they are needed, if nobody can tell; else return False."""
        if self._initializer is not None or not self._has_usual_process():
            return False  # the first is to run in each worker, used or not
        if not may_sleep(getattr(self._ctx, "Process", None)):
            return False
        try:
            template = self._template = Template(self, parent_to_follow(), self._crew)
        except OSError:
            return False  # no more descriptors: who needs none may still go on
        self._arm()
        start_all(self, template)
        if template.pid is None:
            self._terminate.cancel()
            self._template = self._terminate = None
            self._repopulate_pool()  # there are fewer than wanted: it says why
        return True

    def _make_template(self) -> Template | None:
        """The workers that follow these are forked from what this process is now, before it may have threads."""
        if not self._has_usual_process() or not all(is_forked(process) for process in self._pool):
            return None  # how another method, or a Process of the user's, makes a worker is its own affair
        with suppress(OSError):
            return Template(self, parent_to_follow()).fork_now()
        return None

    def _start_worker(self, place: int) -> None:
        process = self._make_worker(place, parent_to_follow())
        if self._template is None:
            process.start()
        else:
            self._template.start(process, place)
        self._add_worker(place, process)
        pid = getattr(process, "pid", None)
        if pid is not None:  # a Process of the user's own making need not tell
            self._crew.set_worker(place, pid)

    def _add_worker(self, place: int, process: Any) -> None:
        self._pool.append(process)
        self._places[place] = process
        util.debug("added worker")

    def _maintain_pool(self) -> None:
        """Bury workers that have ended and start others in their places. Called by who waits."""
        with self._lock:
            for place, process in list(self._places.items()):
                if process.exitcode is not None:
                    self._bury_worker(place, process)
            if not self._ended.is_set() and (self._state == RUN or (self._state == CLOSE and self._crew.jobs)):
                self._repopulate_pool()

    def _bury_worker(self, place: int, process: Any) -> None:
        process.join()
        del self._places[place]
        self._pool.remove(process)
        could_not_begin = process.exitcode > 0 and not self._crew.has_begun(place)
        lost = self._crew.bury_worker(place, worker_died(process))
        util.debug("worker %s ended with exit code %s, %d tasks lost", process.name, process.exitcode, lost)
        self._failed_starts = self._failed_starts + 1 if could_not_begin else 0
        if self._failed_starts > self._processes:
            self._give_up(process)

    def _give_up(self, process: Any) -> None:
        """Workers that cannot begin would be replaced for ever: after a few, every call fails."""
        reports = self._crew.reports
        what = f"the pool's initializer {self._initializer!r}" if reports else "its start"
        error = WorkerDied(process.pid, process.exitcode, f"{what}, as all workers before it")
        error.__cause__ = reports[-1] if reports else None
        self._crew.fail_all(error)
        self._state = CLOSE

    @classmethod
    def _terminate_pool(
        cls,
        crew: _core.Crew,
        pool: list[Any],
        places: dict[int, Any],
        lock: threading.RLock,
        ended: threading.Event,
        template: Template | None,
    ) -> None:
        """Also run at exit, when the pool may be gone already."""
        with lock:  # the helper may be about to replace a worker
            ended.set()
            if template is not None:
                template.end(-signal.SIGTERM)
        for process in pool:
            if process.exitcode is None:
                process.terminate()
        if template is not None:
            template.reap()
        for process in pool:
            if process._popen is not None:
                end_worker(process)
        with lock:  # the helper may be burying one
            crew.maintain = crew.need_helper = None
            places.clear()
