"""A process may fork at any moment, from any thread, and in any way, whatever its other threads are doing."""

import os
import textwrap

import pytest
from support import forking
from support.forked import forked
from support.processes import thread
from support.programs import python

import fastmp

COUNTS = {"pty": 2, "threads": 2, "posix_spawn": 8}  # what it costs is told by the waits for the GIL


@pytest.mark.parametrize("way", forking.WAYS)
def test_processes_are_made_while_threads_use_everything(way: str) -> None:
    done = python(forking.__file__, way, str(COUNTS.get(way, 3)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{COUNTS.get(way, 3)} by {way}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_lock_that_a_thread_holds_at_the_fork_stays_held() -> None:
    """As in the standard library: it is one lock, and the parent's thread will release it."""
    lock, taken, go_on = fastmp.Lock(), fastmp.Event(), fastmp.Event()

    def hold() -> None:
        with lock:
            taken.set()
            go_on.wait()

    def look_and_wait() -> None:
        assert not lock.acquire(block=False)
        go_on.set()
        assert lock.acquire(timeout=30)
        lock.release()

    with thread(hold):
        taken.wait()
        with forked(look_and_wait) as child:
            assert child.wait() == 0
    assert lock.acquire(block=False)
    lock.release()


def leave_the_block_in_a_child() -> None:
    """The copies that a forked child has of a pool and an executor: leaving their blocks ends nothing of its parent."""
    with fastmp.Pool(1) as pool, fastmp.ProcessPoolExecutor(1) as executor:
        future = executor.submit(pow, 2, 10)
        pid = os.fork()
        if pid == 0:
            executor.terminate_workers()
            return
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert future.result(30) == 1024
        assert pool.apply(abs, (-1,)) == 1
        assert executor.submit(abs, -1).result(30) == 1


def test_a_child_may_leave_its_parents_blocks() -> None:
    with forked(leave_the_block_in_a_child) as child:
        assert child.wait() == 0


def test_a_child_that_exits_with_its_parents_executor_has_its_own_exit_code() -> None:
    script = """
        import os, sys, fastmp
        with fastmp.ProcessPoolExecutor(1) as executor:
            assert executor.submit(abs, -1).result() == 1
            pid = os.fork()
            if pid == 0:
                sys.exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), executor.submit(abs, -2).result())
    """
    done = python("-c", textwrap.dedent(script))
    assert done.stdout == "7 2\n", done.stderr
    assert "another process" not in done.stderr
