"""fastmp._dormant: workers that are forked with their pool, and begin when there is something to do."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing import process as standard_process
from multiprocessing import util
from pathlib import Path

import pytest
from support.leftovers import children
from support.processes import eventually

import fastmp
from fastmp import _dormant

FORK = fastmp.get_context("fork")

count_threads = _dormant._count_threads

LONG = 60.0  # seconds; a worker begins by itself before that

begun = FORK.RawArray("i", 16)  # by place: pids of processes in which Python has run
count = fastmp.atomic(FORK.Value("i", 0, lock=False))


def note() -> None:
    begun[count.fetch_add(1) % len(begun)] = os.getpid()


os.register_at_fork(after_in_child=note)


@pytest.fixture(autouse=True)
def _nobody_has_begun(monkeypatch):
    count.store(0)
    # The kernel counts also those of NumPy, which other tests may have imported, and for a moment one that was joined.
    monkeypatch.setattr(_dormant, "_count_threads", threading.active_count)
    monkeypatch.setattr(util, "_logger", None)  # of tests before
    assert _dormant.may_sleep(FORK.Process)


def pids() -> set[int]:
    return set(begun[: count.load()])


def stop_all(pool) -> list[int]:
    """Stop the workers, which may be dormant, or have begun meanwhile."""
    workers = [process.pid for process in pool._pool]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    return workers


def test_workers_begin_by_themselves():
    with FORK.Pool(3) as pool:
        workers = {process.pid for process in pool._pool}
        eventually(lambda: pids() >= workers, LONG)
        assert pool._template.pid not in pids()


def test_all_begin_when_there_is_work_for_all():
    barrier = FORK.Barrier(3)
    with FORK.Pool(3) as pool:
        results = [pool.apply_async(meet, (barrier,)) for _ in range(3)]
        assert {result.get(LONG) for result in results} == {process.pid for process in pool._pool} <= pids()


def meet(barrier) -> int:
    barrier.wait(LONG)
    return os.getpid()


def test_those_without_work_end_in_order():
    pool = FORK.Pool(4)
    processes = list(pool._pool)
    assert pool.apply(os.getpid) in {process.pid for process in processes}
    pool.close()
    pool.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert not fastmp.active_children()


def test_closed_at_once():
    pool = FORK.Pool(4)
    processes = list(pool._pool)
    pool.close()
    pool.join()
    assert [process.exitcode for process in processes] == [0] * 4


def test_killed_before_they_have_begun():
    with FORK.Pool(2) as pool:
        for process in list(pool._pool):
            process.kill()
        assert sorted(pool.map(abs, range(-20, 0))) == list(range(1, 21))


def test_terminated_before_they_have_begun():
    pool = FORK.Pool(3)
    processes = list(pool._pool)
    pool.terminate()
    pool.join()
    assert {process.exitcode for process in processes} <= {-signal.SIGTERM}


def test_stopped_while_others_work():
    """One that is stopped is late; the calls go to the others, and none is lost."""
    with FORK.Pool(2) as pool:
        first, second = stop_all(pool)
        result = pool.map_async(abs, range(-8, 0), 1)
        os.kill(second, signal.SIGCONT)
        # The first may have begun, and taken a call, before it was stopped.
        os.kill(first, signal.SIGCONT)
        assert result.get(LONG) == list(range(8, 0, -1))


def test_a_handler_of_pythons_runs_later():
    """A signal that comes while it is dormant is met when it has begun."""
    got = FORK.RawValue("i", 0)

    def handler(number, frame):
        got.value = os.getpid()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with FORK.Pool(1) as pool:
            [process] = pool._pool
            os.kill(process.pid, signal.SIGUSR1)
            eventually(lambda: got.value == process.pid, LONG)
            assert pool.apply(signal.pthread_sigmask, (signal.SIG_BLOCK, [])) == signal.pthread_sigmask(
                signal.SIG_BLOCK, []
            )
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_it_has_no_descriptors_of_the_templates():
    with FORK.Pool(2) as pool:
        assert not any(name.startswith("socket:") for name in pool.apply(sockets))


def sockets() -> list[str]:
    return [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def bootstrap(self, *args, **options):
    """As a tool that measures coverage puts in the original's place."""


@pytest.mark.parametrize("what", ["bootstrap", "logger", "thread", "spawn"])
def test_where_it_could_be_told_they_are_started_as_always(what, monkeypatch):
    assert _dormant.may_sleep(FORK.Process)
    if what == "bootstrap":
        monkeypatch.setattr(standard_process.BaseProcess, "_bootstrap", bootstrap)
        assert not _dormant.may_sleep(FORK.Process)
    elif what == "logger":
        monkeypatch.setattr(util, "_logger", logging.getLogger("a test of fastmp's"))
        assert not _dormant.may_sleep(FORK.Process)
    elif what == "thread":
        monkeypatch.setattr(_dormant, "_count_threads", count_threads)
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            assert not _dormant.may_sleep(FORK.Process)
        finally:
            stop.set()
            thread.join()
    else:
        assert not _dormant.may_sleep(fastmp.get_context("spawn").Process)


def test_no_more_processes(monkeypatch):
    """Those that could be made are not left behind."""
    fork_dormant = _dormant._core.fork_dormant
    made = []

    def fewer(children, run, pids):
        fork_dormant(children[:2], run, pids)
        made.extend(pids)

    def refuse():
        raise BlockingIOError("no more")

    monkeypatch.setattr(_dormant._core, "fork_dormant", fewer)
    monkeypatch.setattr(_dormant._core, "fork", refuse)
    with pytest.raises(BlockingIOError):
        FORK.Pool(3)
    assert len(made) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in made)


INTERRUPTED = """
import os, signal
import fastmp

def interrupt():
    if waiting:
        os.kill(os.getpid(), waiting.pop())

waiting = [signal.SIGINT]
os.register_at_fork(before=interrupt)  # signals are blocked then
try:
    fastmp.get_context("fork").Pool(3)
except KeyboardInterrupt:
    print("interrupted", open(f"/proc/self/task/{os.getpid()}/children").read())
"""


def test_interrupted_while_they_are_forked():
    """Ctrl-C waits until all are there; then nobody is left."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=LONG, check=False
    )
    assert (done.stdout.split(), done.returncode) == (["interrupted"], 0), done.stderr


TERMINATED = """
import signal, sys
import fastmp

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
pool = fastmp.get_context("fork").Pool(3)
workers = list(pool._pool)
pool.terminate()
print([worker.exitcode for worker in workers])
"""


def test_terminated_where_a_handler_exits():
    """The handler's exit is that of the worker, without a word, also where the signal has waited for its Python."""
    done = subprocess.run([sys.executable, "-c", TERMINATED], capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[3, 3, 3]\n", "", 0)


def test_no_socket_for_a_template(monkeypatch):
    """The workers are started one by one, and the pool has no template."""

    def refuse(*args):
        raise OSError(errno.EMFILE, "no more")

    monkeypatch.setattr(socket, "socketpair", refuse)
    with FORK.Pool(2) as pool:
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        assert pool._template is None
        assert [int(process.name.rpartition("-")[2]) for process in pool._pool] == numbers_to(pool._pool[-1].name, 2)


def numbers_to(last: str, count: int) -> list[int]:
    """The numbers of the last so many processes."""
    number = int(last.rpartition("-")[2])
    return list(range(number - count + 1, number + 1))


def test_exit_codes_of_those_that_end_while_others_are_started(monkeypatch):
    """Between the starts nobody looks at the new ones; afterwards all is as always."""
    add_worker = fastmp.pool.Pool._add_worker

    def kill_and_add(self, place, process):
        process.kill()
        assert fastmp.connection.wait([process.sentinel], LONG)
        add_worker(self, place, process)

    with monkeypatch.context() as patch:
        patch.setattr(fastmp.pool.Pool, "_add_worker", kill_and_add)
        pool = FORK.Pool(3)
    with pool:
        assert [process.exitcode for process in list(pool._pool)] == [-signal.SIGKILL] * 3
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_no_descriptors(which, monkeypatch):
    """A pidfd of the parent, two of the workers, one of the template: whichever there is none for, nobody is left."""
    pidfd_open = _dormant._core.pidfd_open
    asked = []

    def refuse(pid):
        asked.append(pid)
        if len(asked) == which + 1:
            raise OSError(errno.EMFILE, "no more")
        return pidfd_open(pid)

    before = children()
    monkeypatch.setattr(_dormant._core, "pidfd_open", refuse)
    if which in (1, 2):
        with pytest.raises(OSError, match="no more"):
            FORK.Pool(2)
    else:
        with FORK.Pool(2) as pool:
            if which == 3:
                eventually(lambda: pool._template.pid is None and len(asked) > 3, LONG)
                first = pool._pool[0]
                first.kill()
                first.join()
                pool._maintain_pool()
                assert first not in pool._pool
                assert len(pool._pool) == 2
            assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
    eventually(lambda: children() == before, LONG)


def test_interrupted_while_dormant():
    """Ctrl-C in the moment before they begin: what it raises in a worker stays there, and the parent goes on."""
    script = """if True:
        import os, signal, time
        import fastmp
        pool = fastmp.get_context("fork").Pool(2)
        processes = list(pool._pool)
        for process in processes:
            os.kill(process.pid, signal.SIGINT)
        for process in processes:
            process.join()
        print("joined", [process.exitcode > 0 for process in processes])
        print(pool.apply(abs, (-1,)))
        pool.terminate()
        pool.join()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG, check=False)
    assert done.stdout == "joined [True, True]\n1\n", done.stderr
    assert done.returncode == 0
