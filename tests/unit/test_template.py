"""fastmp._template: the workers that replace others are forked from what the parent was when the pool was made."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.leftovers import children

import fastmp
from fastmp import _core
from fastmp._template import Template

FORK = fastmp.get_context("fork")
LONG = 30

state = "before"  # of this module: what a snapshot shows


def what_i_am() -> dict[str, Any]:
    process, parent = fastmp.current_process(), fastmp.parent_process()
    assert parent is not None
    return {
        "pid": os.getpid(),
        "parent": (os.getppid(), parent.pid, parent.is_alive()),
        "name": process.name,
        "daemon": process.daemon,
        "authkey": bytes(process.authkey),
        "state": state,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "children": fastmp.active_children(),
    }


def die(how: int = signal.SIGKILL) -> None:
    signal.raise_signal(how)


@contextmanager
def changed() -> Iterator[threading.Lock]:
    """This process has another thread, and a lock that it will not have released when somebody forks."""
    global state
    lock, stop = threading.Lock(), threading.Event()
    lock.acquire()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    state = "after"
    try:
        yield lock
    finally:
        state = "before"
        stop.set()
        thread.join()


def replaced(pool: Any) -> dict[str, Any]:
    """Kill the only worker; what the next one says of itself."""
    with pytest.raises(fastmp.WorkerDied):
        pool.apply(die)
    what: dict[str, Any] = pool.apply(what_i_am)
    return what


def test_a_replacement_comes_from_the_snapshot(recwarn):
    with FORK.Pool(1) as pool:
        first = pool.apply(what_i_am)
        with changed():
            second = replaced(pool)
            assert (first["state"], second["state"], state) == ("before", "before", "after")
            assert second["threads"] == first["threads"] == 1
    assert not recwarn.list  # as of 3.12: fork in a process with threads


def test_a_replacement_is_a_child_like_any_other():
    with FORK.Pool(1) as pool:
        first, second = pool.apply(what_i_am), replaced(pool)
        [worker] = pool._pool
        assert second["pid"] == worker.pid != first["pid"]
        assert second["name"] == worker.name != first["name"]
        for key in ("parent", "daemon", "authkey", "blocked", "children"):
            assert second[key] == first[key]
        assert second["parent"] == (os.getpid(), os.getpid(), True)
        assert worker in fastmp.active_children()
        assert worker.is_alive()
        worker.terminate()
        worker.join()
        assert worker.exitcode == -signal.SIGTERM
        assert fastmp.connection.wait([worker.sentinel], 0) == [worker.sentinel]


def c_library() -> str:
    """What a fork must not have confused in the C library: who the thread is, its signals, children of its own."""
    done = []
    thread = threading.Thread(target=done.append, args=(1,))
    thread.start()
    thread.join()
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    signal.raise_signal(signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert got == [1, 1]
    assert threading.get_native_id() == os.getpid()
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    return subprocess.run(["echo", "well"], capture_output=True, text=True, check=True).stdout


def test_the_c_library_knows_of_the_fork():
    with FORK.Pool(1) as pool:
        replaced(pool)
        assert pool.apply(c_library) == "well\n"


def keep(value: Any) -> None:
    global kept
    kept = value


def add_to_kept() -> int:
    with kept.get_lock():
        kept.value += 1
        return int(kept.value)


def test_shared_objects_and_initializers():
    with FORK.Pool(1, keep, (FORK.Value("i"),)) as pool:
        for count in range(1, 4):
            assert pool.apply(add_to_kept) == count
            replaced(pool)


def test_maxtasksperchild():
    with FORK.Pool(2, maxtasksperchild=1) as pool, changed():
        seen = pool.map(what_of_it, range(12), 1)
    assert len({pid for pid, _ in seen}) == 12
    assert {parent for _, parent in seen} == {os.getpid()}


def what_of_it(_: int) -> tuple[int, int]:
    return os.getpid(), os.getppid()


def test_an_executor_that_goes_on():
    with fastmp.ProcessPoolExecutor(1, FORK, on_worker_death="fail-task") as executor:
        executor.submit(what_i_am).result()
        with changed():
            with pytest.raises(fastmp.WorkerDied):
                executor.submit(die).result()
            what = executor.submit(what_i_am).result()
            assert (what["state"], what["parent"][0]) == ("before", os.getpid())


def pid_of_template(pool: Any) -> int:
    assert pool._template is not None
    pid: int = pool._template.pid
    assert Path(f"/proc/{pid}").exists()
    return pid


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_template_that_is_gone(monkeypatch, how, size):
    """The parent forks itself then."""
    monkeypatch.setattr("fastmp._template.PATIENCE", 0.3)
    with FORK.Pool(size) as pool:
        assert all(worker.pid for worker in pool._pool)  # they are all there
        os.kill(pid_of_template(pool), how)
        assert all_replaced(pool)["parent"][0] == os.getpid()
        assert all_replaced(pool)["parent"][0] == os.getpid()


def all_replaced(pool: Any) -> dict[str, Any]:
    """Kill all workers; what one of the next ones says of itself."""
    before = {worker.pid for worker in pool._pool}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for worker in list(pool._pool):
        worker.join(LONG)
    what: dict[str, Any] = pool.apply(what_i_am)
    assert what["pid"] not in before
    return what


def test_it_is_needed_at_once():
    """Before there are all workers: then they come first."""
    with FORK.Pool(3) as pool, changed():
        first = pool._pool[0]
        first.kill()
        first.join()
        pool._maintain_pool()
        assert len(children()) == 4
        what = all_replaced(pool)
        assert (what["state"], what["threads"], what["parent"][0]) == ("before", 1, os.getpid())


def test_it_handles_no_signal():
    with FORK.Pool(1) as pool:
        pid = pid_of_template(pool)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        replaced(pool)
        assert pid_of_template(pool) == pid


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("how", ["close", "terminate", "drop"])
def test_it_ends_with_its_pool(how, size):
    pool = FORK.Pool(size)
    pid = pid_of_template(pool)
    if how == "drop":
        with pytest.warns(ResourceWarning):
            del pool
    else:
        getattr(pool, how)()
        pool.join()
    assert not Path(f"/proc/{pid}").exists()


def test_others_have_none():
    class Own(fastmp.pool.Pool):
        @staticmethod
        def Process(ctx, *args, **options):
            return ctx.Process(*args, **options)

    with Own(1, context=FORK) as pool:
        assert pool._template is None
        assert replaced(pool)["parent"][0] == os.getpid()


def test_no_more_processes(monkeypatch):
    """What the template cannot do is the caller's error, as if it had forked itself."""
    with FORK.Pool(1) as pool:
        template: Template = pool._template
        monkeypatch.setattr(template, "_ask", lambda question: b"-11")
        with pytest.raises(BlockingIOError):
            template.fork(0, pool._pool[0])


def hold(count: int) -> None:
    keep([FORK.RawValue("i") for _ in range(count)])


def test_what_a_dead_replacement_held_is_given_back():
    """The parent has not made it, but is told who it was."""
    with FORK.Pool(1) as pool:
        replaced(pool)
        pool.apply(hold, (0,))
        before = _core.heap_stats()["shared"]
        pool.apply(hold, (100,))
        assert _core.heap_stats()["shared"] == before + 100
        replaced(pool)
        assert _core.heap_stats()["shared"] == before
