"""Pools and executors: workers, and the parent of workers, are killed.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS. The victim
is whichever worker takes the token first; those that replace it find none.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ClassVar

from case import Notes, Victim, finish, fork, helper

import fastmp
from fastmp import _template
from fastmp.concurrent.futures import ProcessPoolExecutor

TASKS = 12
WORKERS = 2
#: Rounds of the same work: the victim may be killed between two, or in the last one.
ROUNDS = 2
#: The length of a task that outlasts the time in which a worker's death is noticed.
SLOW = 0.12
#: A call that takes longer has hung.
CALL_SECONDS = 8.0


class Work:
    """Tasks of one round, what became of each, and the errors of those that were lost."""

    current: ClassVar["Work"]  # a task finds it here: it does not travel

    def __init__(self, victim: Victim, size: int, slow: float = 0.001) -> None:
        Work.current = self
        self.victim, self.size, self.slow = victim, size, slow
        self.notes = Notes(TASKS + 2)
        self.errors: list[str] = []  # not the exceptions: their tracebacks hold the pool
        self._token, self._give = os.pipe()
        os.set_blocking(self._token, False)
        os.write(self._give, b"x")

    def close(self) -> None:
        os.close(self._token)
        os.close(self._give)

    def begin(self) -> None:
        """The initializer of each worker."""
        try:
            os.read(self._token, 1)
        except BlockingIOError:
            return
        self.notes[TASKS] = os.getpid()
        self.victim.enlist()

    def items(self) -> list[tuple[int, bytes]]:
        for number in range(TASKS):
            self.notes[number] = 0
        return [(number, bytes([number]) * self.size) for number in range(TASKS)]

    def lost(self, error: fastmp.WorkerDied) -> None:
        """A task was lost, with the victim only."""
        assert error.pid == self.notes[TASKS], f"{error}: the victim is {self.notes[TASKS]}"
        assert error.signal == signal.SIGKILL, str(error)
        assert str(error.pid) in str(error)
        assert "SIGKILL" in str(error)
        self.errors.append(str(error))

    def check(self, results: list[tuple[int, bytes]], whole: bool) -> None:
        """Every task ran once, but for those that the victim had in hand; and its result is there."""
        found = sorted(number for number, _ in results)
        assert all(data == bytes([number]) * self.size for number, data in results)
        assert len(set(found)) == len(found), f"results twice: {found}"
        assert all(self.notes[number] <= 1 for number in range(TASKS)), "a task ran twice"
        assert all(self.notes[number] == 1 for number in found), "a result without a task"
        assert not whole or found == list(range(TASKS)), f"results are missing: {found}"

    def check_end(self) -> None:
        assert len(self.errors) <= 1, f"more than one task was lost: {self.errors}"
        assert self.victim.killed or not self.errors
        if self.victim.point == "worker:result-published":
            assert not self.errors, "a task was lost though its result was there"


def run(item: tuple[int, bytes]) -> tuple[int, bytes]:
    """One task: what comes back is what went."""
    Work.current.notes[item[0]] += 1
    # Each worker gets its share. A slow one is at work still when the victim's end is noticed.
    time.sleep(0.001 if os.getpid() == Work.current.notes[TASKS] else Work.current.slow)
    return item


# ---- pools ----


@contextmanager
def pool_with_victim(work: Work) -> Iterator[Any]:
    """A pool; at the end the victim's fate is known, and the pool must have replaced it."""
    pool = fork.Pool(WORKERS, work.begin)
    workers = {process.pid: process for process in pool._pool}
    try:
        with pool:
            yield pool
            process = workers[work.notes[TASKS]]
            if process.exitcode is not None:
                assert work.victim.note_end(process.exitcode)
            check_pool_works(pool)
            if work.victim.killed:
                check_replaced(pool, work.notes[TASKS])
        pool.join()
        if not work.victim.killed and process.exitcode == -signal.SIGKILL:
            work.victim.note_end(process.exitcode)
    finally:
        work.close()


def check_pool_works(pool: Any) -> None:
    """Whoever is killed just now may take one task along: the next call must be whole."""
    deadline = time.monotonic() + CALL_SECONDS
    while True:
        try:
            assert pool.map_async(abs, range(-30, 0), 5).get(CALL_SECONDS) == list(range(30, 0, -1))
            return
        except fastmp.WorkerDied:
            assert time.monotonic() < deadline


def check_replaced(pool: Any, dead: int) -> None:
    """The pool notices while it waits for results."""
    deadline = time.monotonic() + 1.0
    while dead in (pids := [process.pid for process in list(pool._pool)]) or len(pids) < WORKERS:
        pool.apply(time.sleep, (0.05,))  # a helper thread may be about to start the new one
        assert time.monotonic() < deadline, "the victim was not replaced"


def map_worker_dies(size: int, chunksize: int | None, victim: Victim, slow: float = 0.001) -> None:
    work = Work(victim, size, slow)
    with pool_with_victim(work) as pool:
        time.sleep(0.01)  # the workers sleep already
        for _ in range(ROUNDS):
            try:
                work.check(pool.map_async(run, work.items(), chunksize).get(CALL_SECONDS), whole=True)
            except fastmp.WorkerDied as error:
                work.lost(error)
    work.check_end()


def apply_async_worker_dies(size: int, victim: Victim, slow: float = 0.001) -> None:
    work = Work(victim, size, slow)
    called: list[Any] = []
    with pool_with_victim(work) as pool:
        for _ in range(ROUNDS):
            calls = [pool.apply_async(run, (item,), callback=called.append) for item in work.items()]
            results = []
            for call in calls:
                try:
                    results.append(call.get(CALL_SECONDS))
                except fastmp.WorkerDied as error:
                    work.lost(error)
            work.check(results, whole=not work.errors)
            assert len(results) >= TASKS - 1
    work.check_end()
    assert len(called) == ROUNDS * TASKS - len(work.errors), "a callback is missing, or was called twice"


def imap_worker_dies(size: int, method: str, victim: Victim, slow: float = 0.001) -> None:
    work = Work(victim, size, slow)
    with pool_with_victim(work) as pool:
        for _ in range(ROUNDS):
            stream = getattr(pool, method)(run, work.items())
            results = []
            for _ in range(TASKS):
                try:
                    results.append(stream.next(CALL_SECONDS))
                except fastmp.WorkerDied as error:
                    work.lost(error)
            work.check(results, whole=not work.errors)
            assert len(results) >= TASKS - 1
            try:
                raise AssertionError(f"one result too many: {stream.next(CALL_SECONDS)}")
            except StopIteration:
                pass
    work.check_end()


def parent_dies(victim: Victim) -> None:
    """Its workers end by themselves: the case fails if a process is left."""

    def run_a_pool() -> None:
        with fork.Pool(WORKERS) as pool:
            for size in (8, 5_000):
                assert pool.map(len, [bytes(size)] * TASKS, 1) == [size] * TASKS

    victim.start(run_a_pool)
    victim.join()


def sleeping_template_dies(victim: Victim) -> None:
    """While it forks the workers that are needed: no call is lost, and all are there in the end."""
    with new_pool(victim, "dormant:") as pool:
        assert pool.map_async(abs, range(-TASKS, 0), 1).get(CALL_SECONDS) == list(range(TASKS, 0, -1))
        await_workers(pool)
        assert pool.map_async(abs, range(-TASKS, 0), 1).get(CALL_SECONDS) == list(range(TASKS, 0, -1))


def sleeping_template_dies_alone(victim: Victim) -> None:
    """Nobody is needed but the first worker."""
    with new_pool(victim, "dormant:") as pool:
        assert pool.apply_async(abs, (-1,)).get(CALL_SECONDS) == 1


def unneeded_template_dies(victim: Victim) -> None:
    """The pool is closed before anything is asked of it."""
    with new_pool(victim, "dormant:"):
        pass


def worker_dies_before_it_begins(victim: Victim) -> None:
    """No call is lost with one that the template has just forked, and another takes its place."""
    with new_pool(victim, "sibling:") as pool:
        assert pool.map_async(abs, range(-TASKS, 0), 1).get(CALL_SECONDS) == list(range(TASKS, 0, -1))
        await_workers(pool)


@contextmanager
def new_pool(victim: Victim, unit: str) -> Iterator[Any]:
    """A pool that is closed in the end; the victim is its template, or the first of the workers that this one forks."""
    victim.bequeath(unit)
    pool = fork.Pool(WORKERS + 1)
    workers, template = list(pool._pool), pool._template
    yield pool
    template.end()
    codes = [] if template.pid is None else [code_of(template.pid)]  # it has been given up, or not
    pool.close()
    pool.join()
    codes += [process.exitcode for process in workers]
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    assert codes.count(-signal.SIGKILL) <= 1
    is_gone = unit == "dormant:" and len(codes) == len(workers)
    victim.note_end(-signal.SIGKILL if is_gone or -signal.SIGKILL in codes else 0)
    check_no_child()


def code_of(pid: int) -> int:
    """Wait for the end of a child, and leave it to others to reap it."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def await_workers(pool: Any) -> None:
    """All places are taken by processes that are alive: the pool sees to it while it waits for results."""
    deadline = time.monotonic() + CALL_SECONDS
    while not all(os.path.exists(f"/proc/{process.pid}") for process in list(pool._pool)) or any(
        process.exitcode is not None for process in list(pool._pool)
    ):
        pool.apply(time.sleep, (0.05,))
        assert time.monotonic() < deadline, "workers are missing"
    pids = [process.pid for process in pool._pool]
    assert len(set(pids)) == WORKERS + 1, pids


def check_no_child() -> None:
    with suppress(ChildProcessError):
        raise AssertionError(f"a child that nobody knows: {os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)}")


class Unmet:
    """Who is killed, and the pids of the victim and the first worker. It does not travel: a task finds it here."""

    current: ClassVar["Unmet"]

    def __init__(self, victim: Victim) -> None:
        Unmet.current = self
        self.victim, self.pids = victim, Notes(2)


def work_unmet(_: int) -> None:
    who = Unmet.current
    if os.getpid() != who.pids[1] and not who.pids[0]:
        who.pids[0] = os.getpid()
        who.victim.enlist()
    time.sleep(SLOW)  # there is a call for each worker, and a killed one is noticed meanwhile


def unmet_worker_dies(victim: Victim) -> None:
    """With a call in hand, before anybody has looked who it is: the call fails, and says who it was."""
    pids = Unmet(victim).pids
    pool = fork.Pool(WORKERS)
    pids[1] = pool._pool[0].pid
    calls = [pool.apply_async(work_unmet, (number,)) for number in range(WORKERS * 2)]
    lost = []
    for call in calls:
        try:
            call.get(CALL_SECONDS)
        except fastmp.WorkerDied as error:
            lost.append((error.pid, error.signal))
    assert lost in ([], [(pids[0], signal.SIGKILL)]), lost
    check_pool_works(pool)
    workers = list(pool._pool)
    pool.close()
    pool.join()
    is_there = any(process.pid == pids[0] and process.exitcode == 0 for process in workers)
    victim.note_end(0 if is_there else -signal.SIGKILL)
    check_no_child()


def template_dies(victim: Victim) -> None:
    """While it makes a worker for one that has ended: the worker is taken if there is one, and no other is left."""
    clone = _template._fork

    def die_in_it(*args: Any) -> int:
        victim.enlist()
        return clone(*args)

    _template._fork = die_in_it  # the template is a copy of this process
    try:
        pool = fork.Pool(1)
    finally:
        _template._fork = clone
    template = pool._template
    worker = pool._pool[0]
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    check_pool_works(pool)
    victim.note_end(-signal.SIGKILL if template.pid is None else 0)
    pool.close()
    pool.join()
    check_no_child()


# ---- executors ----


def outcomes(work: Work, executor: Any) -> tuple[list[tuple[int, bytes]], list[BaseException]]:
    """Submit everything; what came back, and the errors of what did not."""
    futures = []
    errors: list[BaseException] = []
    for item in work.items():
        try:
            futures.append(executor.submit(run, item))
        except BrokenProcessPool as error:
            errors.append(error)
    results = []
    for future in futures:
        error = future.exception(CALL_SECONDS)
        if error is None:
            results.append(future.result())
        else:
            errors.append(error)
    return results, errors


def note_executor_victim(work: Work, workers: dict[int, Any]) -> None:
    process = workers[work.notes[TASKS]]
    if process.exitcode not in (0, None):
        work.victim.killed = process.exitcode == -signal.SIGKILL
    assert work.victim.killed or process.exitcode in (0, None, -signal.SIGTERM)


def breaking_executor_worker_dies(size: int, victim: Victim) -> None:
    """The standard rule: all that is pending fails, and the executor takes no more."""
    work = Work(victim, size)
    with ProcessPoolExecutor(WORKERS, fork, work.begin) as executor:
        executor._ready_crew()  # the workers are there before the first call
        workers = dict(executor._processes)
        work.notes.wait_for(TASKS, 1)
        for _ in range(ROUNDS):
            results, errors = outcomes(work, executor)
            assert all(isinstance(error, BrokenProcessPool) for error in errors), errors
            work.check(results, whole=not errors)
            if errors:
                break
        if errors:
            check_broken(executor)
    note_executor_victim(work, workers)
    assert victim.killed or not errors
    work.close()


def check_broken(executor: Any) -> None:
    try:
        executor.submit(abs, 1)
        raise AssertionError("a broken executor took a call")
    except BrokenProcessPool:
        pass


def check_executor_works(executor: Any) -> None:
    """Whoever is killed just now may take one task along: the next call must be whole."""
    deadline = time.monotonic() + CALL_SECONDS
    while True:
        try:
            assert list(executor.map(abs, range(-30, 0), timeout=CALL_SECONDS)) == list(range(30, 0, -1))
            return
        except fastmp.WorkerDied:
            assert time.monotonic() < deadline


def lenient_executor_worker_dies(size: int, victim: Victim) -> None:
    """`on_worker_death="fail-task"`: as in a Pool."""
    work = Work(victim, size)
    with ProcessPoolExecutor(WORKERS, fork, work.begin, on_worker_death="fail-task") as executor:
        executor._ready_crew()  # the workers are there before the first call
        workers = dict(executor._processes)
        work.notes.wait_for(TASKS, 1)
        for _ in range(ROUNDS):
            results, errors = outcomes(work, executor)
            for error in errors:
                assert isinstance(error, fastmp.WorkerDied), repr(error)
                work.lost(error)
            work.check(results, whole=not errors)
        check_executor_works(executor)
    note_executor_victim(work, workers)
    work.check_end()
    work.close()


# ---- processes ----


def forker_dies(victim: Victim) -> None:
    """While it makes children of its own."""
    lock, queue, array = fork.Lock(), fork.Queue(), fork.Array("i", 10)
    queue.put(bytes(5_000))

    def fork_often() -> None:
        own = [fork.Lock(), fork.Queue(), fork.Value("i", 1)]
        for _ in range(3):
            child = fork.Process(target=len, args=(own,))
            child.start()
            child.join()

    victim.start(fork_often)
    victim.join()
    assert queue.get() == bytes(5_000)
    with lock:
        array[0] = 1
    child = helper(queue.put, 1)
    assert queue.get() == 1
    finish(child)


SCENARIOS: dict[str, Callable[[Victim], None]] = {}
#: Scenarios that take long are played at the points for which they are made.
ONLY: dict[str, tuple[str, ...]] = {}
for _label, _size in (("small", 8), ("5 KB", 5_000)):
    SCENARIOS[f"Pool.map, chunks of 1, worker, {_label}"] = partial(map_worker_dies, _size, 1)
    SCENARIOS[f"Pool.map, worker, {_label}"] = partial(map_worker_dies, _size, None)
    SCENARIOS[f"Pool.apply_async, worker, {_label}"] = partial(apply_async_worker_dies, _size)
    SCENARIOS[f"Pool.imap_unordered, worker, {_label}"] = partial(imap_worker_dies, _size, "imap_unordered")
    SCENARIOS[f"ProcessPoolExecutor, worker, {_label}"] = partial(breaking_executor_worker_dies, _size)
    SCENARIOS[f"ProcessPoolExecutor that fails the task, worker, {_label}"] = partial(
        lenient_executor_worker_dies, _size
    )
for _name, _scenario in (
    ("map", partial(map_worker_dies, 8, 1, slow=SLOW)),
    ("apply_async", partial(apply_async_worker_dies, 8, slow=SLOW)),
    ("imap_unordered", partial(imap_worker_dies, 8, "imap_unordered", slow=SLOW)),
):
    SCENARIOS[f"Pool.{_name}, worker beside a slow one"] = _scenario
    ONLY[f"Pool.{_name}, worker beside a slow one"] = ("ring:published", "ring:taken", "worker:")
SCENARIOS["Pool.imap, worker"] = partial(imap_worker_dies, 8, "imap")
SCENARIOS["Pool, its parent"] = parent_dies
SCENARIOS["Pool, its template, before all workers are there"] = sleeping_template_dies
SCENARIOS["Pool, its template, one call"] = sleeping_template_dies_alone
SCENARIOS["Pool, its template that is not needed"] = unneeded_template_dies
SCENARIOS["Pool, worker that has not begun"] = worker_dies_before_it_begins
for _name in [name for name in SCENARIOS if name.startswith("Pool, its template")]:
    ONLY[_name] = ("dormant:", "runtime:sibling")
ONLY["Pool, worker that has not begun"] = ("sibling:",)
SCENARIOS["Pool, worker that nobody has met"] = unmet_worker_dies
ONLY["Pool, worker that nobody has met"] = ("ring:taken", "worker:")
SCENARIOS["Pool, its template"] = template_dies
SCENARIOS["Process, while it forks"] = forker_dies
