"""fastmp._dormant: workers that are forked when there is something to do for them."""

import errno
import gc
import logging
import os
import signal
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
from fastmp import _core, _dormant, _template, popen_fork

FORK = fastmp.get_context("fork")

count_threads = _dormant._count_threads

LONG = 60.0  # seconds; a worker is there by itself before that

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


def test_workers_begin_by_themselves():
    before = children()
    with FORK.Pool(3) as pool:
        eventually(lambda: len(children() - before) == 4, LONG)
        workers = {process.pid for process in pool._pool}
        assert {*workers, pool._template.pid} == children() - before
        eventually(lambda: pids() >= workers, LONG)
        assert pool._template.pid not in pids()


@pytest.fixture
def nobody_begins_by_himself(monkeypatch):
    monkeypatch.setattr(_dormant, "ALL_AFTER", 10 * LONG)


def test_one_call_needs_two_forks(nobody_begins_by_himself):
    before = children()
    pool = FORK.Pool(64)
    assert pool.apply(os.getpid) == pool._pool[0].pid
    assert children() - before == {pool._pool[0].pid, pool._template.pid}
    pool.close()
    processes = list(pool._pool)
    pool.join()
    assert [process.exitcode for process in processes] == [0] * 64
    assert children() == before


def test_who_looks_finds_them():
    """A pid, a sentinel and a sign of life, the same ones whenever somebody asks."""
    with FORK.Pool(4) as pool:
        processes = list(pool._pool)
        assert all(process.is_alive() for process in processes)
        assert {process.exitcode for process in processes} == {None}
        assert set(processes) <= set(fastmp.active_children())
        assert fastmp.connection.wait([process.sentinel for process in processes], 0) == []
        numbers = [process.pid for process in processes]
        assert len(set(numbers) & children()) == 4
        assert sorted(pool.map(abs, range(-20, 0), 1)) == list(range(1, 21))
        assert [process.pid for process in processes] == [process.ident for process in processes] == numbers
        assert all(str(process.pid) in repr(process) for process in processes)


@pytest.mark.parametrize("what", ["pid", "sentinel", "repr", "kill", "interrupt", "join"])
def test_who_asks_makes_them(what, nobody_begins_by_himself):
    with FORK.Pool(3) as pool:
        process = pool._pool[2]
        if what == "pid":
            assert process.pid in children()
        elif what == "sentinel":
            process.kill()
            assert fastmp.connection.wait([process.sentinel], LONG) == [process.sentinel]
        elif what == "repr":
            assert f"pid={process.pid} " in repr(process)
        elif what == "join":
            process.join(0.01)
            assert process._popen.__dict__["pid"] in children()
        else:
            getattr(process, what)()
            process.join()
            assert process.exitcode is not None
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def test_a_forked_child_knows_nothing_of_them(nobody_begins_by_himself):
    with FORK.Pool(2) as pool:
        process = FORK.Process(target=look_at, args=(pool._pool[1],))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert pool._pool[1].pid in children()


def look_at(worker) -> None:
    popen = worker._popen
    assert (popen.pid, popen.poll(), popen.wait(), popen.sentinel) == (None, None, None, -1)
    popen._send_signal(signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_template_that_is_gone_before_it_has_made_them(how, monkeypatch, nobody_begins_by_himself):
    """The parent makes the others when it notices; what was never there has ended."""
    monkeypatch.setattr("fastmp._template.PATIENCE", 0.3)
    monkeypatch.setattr("fastmp._dormant.PATIENCE", 0.3)
    barrier = FORK.Barrier(3)
    with FORK.Pool(3) as pool:
        first = [process.pid for process in pool._pool[:1]]
        os.kill(pool._template.pid, how)
        never = pool._pool[2]
        if how == signal.SIGSTOP:  # nobody notices before somebody looks
            assert never.pid is None
        results = [pool.apply_async(meet, (barrier,)) for _ in range(3)]
        workers = {result.get(LONG) for result in results}
        assert len(workers) == 3
        assert set(first) < workers == {process.pid for process in pool._pool}
        assert (never.pid, never.exitcode, never.is_alive()) == (None, 0, False)
        assert fastmp.connection.wait([never.sentinel], 0) == [never.sentinel]
        assert never not in fastmp.active_children()


def test_a_pid_that_was_written_over():
    """Only a child is taken for a worker, or one that somebody else has reaped."""
    assert [_dormant._own(pid) for pid in (0, -1, os.getpid(), os.getppid())] == [None] * 4
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert _dormant._own(process.pid) == process.pid
    process.communicate()
    assert _dormant._own(process.pid) == process.pid


@pytest.mark.parametrize("tree", [False, True])
def test_terminate_makes_nobody(tree, nobody_begins_by_himself):
    before = children()
    pool = FORK.Pool(8)
    processes = list(pool._pool)
    pool.terminate(tree=tree)
    pool.join()
    assert [process.exitcode for process in processes] == [-signal.SIGTERM] * 8
    assert children() == before


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


def test_terminated_before_they_have_begun(nobody_begins_by_himself):
    pool = FORK.Pool(3)
    processes = list(pool._pool)
    pool.terminate()
    pool.join()
    assert {process.exitcode for process in processes} <= {-signal.SIGTERM}


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


def test_a_worker_has_not_started_itself():
    with FORK.Pool(1) as pool, pytest.raises(ValueError, match="not started"):
        pool.apply(sentinel_of_this_process)


def sentinel_of_this_process() -> int:
    return fastmp.current_process().sentinel


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

    def fewer(use):
        crew = use[0]
        fork_dormant(use)
        made.extend([_core.meet_worker(crew, 0, 0), crew.template_pid])
        crew.template_pid = 0
        popen_fork.undo(made[1])

    def refuse(process, popen, plain, sentinel, run):
        os.close(sentinel)
        raise BlockingIOError("no more")

    monkeypatch.setattr(_dormant._core, "fork_dormant", fewer)
    monkeypatch.setattr(_dormant._core, "start_child", refuse)
    with pytest.raises(BlockingIOError):
        FORK.Pool(3)
    assert len(made) == 2  # the first worker and the template
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
from fastmp import _dormant

_dormant.ALL_AFTER = 60
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
pool = fastmp.get_context("fork").Pool(3)
workers = list(pool._pool)
pool.terminate()
print([worker.exitcode for worker in workers])
"""


def test_terminated_where_a_handler_exits():
    """The handler's exit is that of the worker, without a word, also where the signal has waited for its Python.

    It is no handler's where no worker has been needed.
    """
    done = subprocess.run([sys.executable, "-c", TERMINATED], capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[3, -15, -15]\n", "", 0)


def test_no_socket_for_a_template(monkeypatch):
    """The workers are started one by one, and the pool has no template."""

    def refuse(*args):
        raise OSError(errno.EMFILE, "no more")

    monkeypatch.setattr(_template, "socketpair", refuse)
    with FORK.Pool(2) as pool:
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        assert pool._template is None
        assert [int(process.name.rpartition("-")[2]) for process in pool._pool] == numbers_to(pool._pool[-1].name, 2)


def numbers_to(last: str, count: int) -> list[int]:
    """The numbers of the last so many processes."""
    number = int(last.rpartition("-")[2])
    return list(range(number - count + 1, number + 1))


def test_who_looks_while_they_are_made(monkeypatch):
    """A signal's handler may: they are neither there nor have they ended; afterwards all is as always."""
    fork_dormant = _core.fork_dormant
    seen = []

    def look_and_fork(use):
        popens = [item for item in gc.get_objects() if isinstance(item, _dormant._Later) and item._template.is_new]
        for popen in popens:
            popen._send_signal(signal.SIGKILL)
            seen.append((popen.pid, popen.sentinel, popen.poll(), popen.wait()))
        fork_dormant(use)

    with monkeypatch.context() as patch:
        patch.setattr(_core, "fork_dormant", look_and_fork)
        pool = FORK.Pool(3)
    assert seen == [(None, -1, None, None)] * 3
    with pool:
        for process in pool._pool:
            process.kill()
            process.join()
        assert [process.exitcode for process in list(pool._pool)] == [-signal.SIGKILL] * 3
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


@pytest.mark.parametrize("which", [0, 1])
def test_no_descriptors(which, monkeypatch):
    """A pidfd of the parent, of the template: whichever there is none for, nobody is left."""
    pidfd_open = _core.pidfd_open
    asked = []

    def refuse(pid):
        asked.append(pid)
        if len(asked) == which + 1:
            raise OSError(errno.EMFILE, "no more")
        return pidfd_open(pid)

    before = children()
    monkeypatch.setattr(_core, "pidfd_open", refuse)
    with FORK.Pool(2) as pool:
        assert pool._template is None
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
    assert children() == before


@pytest.mark.parametrize("place", [0, 1])
def test_no_descriptor_for_a_worker_to_meet(place, monkeypatch):
    """Who asks is told so, and asks again; nobody is lost."""
    pidfd_open = _core.pidfd_open

    def refuse(pid):
        raise OSError(errno.EMFILE, "no more")

    with FORK.Pool(2) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(_core, "pidfd_open", refuse)
            with pytest.raises(OSError, match="no more"):
                _ = pool._pool[place].pid
            assert pool._pool[place].exitcode is None
            pool._pool[place].kill()
        assert _core.pidfd_open is pidfd_open
        assert pool._pool[place].pid in children()
        pool._pool[place].join()
        assert pool._pool[place].exitcode == -signal.SIGKILL


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
