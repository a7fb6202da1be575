"""Pool: workers that are killed, stopped, or cannot begin, and a parent that is killed."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from operator import neg

import pytest
from support import parts
from support.leftovers import command_line
from support.processes import eventually

import fastmp


def die(signum):
    os.kill(os.getpid(), signum)


def stop_and_go(pid, end):
    while time.monotonic() < end:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.003)


def test_killed_worker_fails_that_task_alone(pool):
    others = [pool.apply_async(parts.pid_after, (0.2,)) for _ in range(4)]
    start = time.monotonic()
    bad = pool.apply_async(die, (signal.SIGKILL,))
    with pytest.raises(fastmp.WorkerDied, match="SIGKILL") as caught:
        bad.get(timeout=20)
    assert str(caught.value.pid) in str(caught.value)
    assert caught.value.signal == signal.SIGKILL
    assert "die" in str(caught.value)
    assert all(r.get(timeout=20) for r in others)
    assert time.monotonic() - start < 20
    assert pool.map(parts.square, range(100)) == [x * x for x in range(100)]
    assert len(pool._pool) == 2


def test_killed_worker_in_map(pool):
    with pytest.raises(fastmp.WorkerDied, match="SIGKILL"):
        pool.map(parts.die, range(10), chunksize=1)
    results = pool.imap(parts.die, range(5))
    got = []
    for _ in range(5):
        try:
            got.append(next(results))
        except fastmp.WorkerDied:
            got.append("lost")
    assert got == [0, 1, "lost", 3, 4]
    assert pool.map(parts.square, range(100)) == [x * x for x in range(100)]


def outcome(result):
    """The result, or the pid of the worker that died with it."""
    try:
        return result.get(timeout=20)
    except fastmp.WorkerDied as error:
        return error.pid


@pytest.mark.time_limit(120)
def test_random_kills_never_hang():
    with fastmp.Pool(2) as pool:
        for n in range(40):
            result = pool.map_async(parts.square, range(2000), chunksize=1)
            victim = pool._pool[n % 2].pid
            time.sleep(0.0007 * (n % 10))
            with suppress(ProcessLookupError):  # killed in an earlier round, and buried just now
                os.kill(victim, signal.SIGKILL)
            assert outcome(result) in ([x * x for x in range(2000)], victim)
        assert pool.map(parts.square, range(100)) == [x * x for x in range(100)]
    pool.join()


@pytest.mark.parametrize("call", ["map", "imap", "apply_async"])
def test_a_worker_stopped_at_any_moment_only_delays(pool, call):
    """One that is stopped when it has just taken a task holds its place in the ring; the other goes round and round."""
    expected = [-number for number in range(2000)]
    pool.map(neg, expected, chunksize=1)
    pid = pool._pool[0].pid
    end = time.monotonic() + 2
    stopper = multiprocessing.get_context("fork").Process(target=stop_and_go, args=(pid, end))
    stopper.start()
    try:
        while time.monotonic() < end:
            if call == "map":
                assert pool.map(neg, range(2000), chunksize=1) == expected
            elif call == "imap":
                assert list(pool.imap(neg, range(2000))) == expected
            else:
                assert [r.get() for r in [pool.apply_async(neg, (n,)) for n in range(2000)]] == expected
    finally:
        stopper.join()
    assert stopper.exitcode == 0


def test_idle_worker_killed(pool):
    os.kill(pool._pool[0].pid, signal.SIGKILL)
    assert pool.apply_async(parts.square, (4,)).get(timeout=10) == 16


def test_exit_code_of_a_worker_that_leaves():
    with fastmp.Pool(1) as pool, pytest.raises(fastmp.WorkerDied, match="exit code 7"):
        pool.apply(os._exit, (7,))
    pool.join()


def fail_to_initialise():
    raise RuntimeError("initializer")


def test_failing_initializer_ends_with_one_error(capfd):
    pool = fastmp.Pool(2, fail_to_initialise)
    with pytest.raises(fastmp.WorkerDied, match="initializer") as caught:
        pool.apply_async(parts.square, (1,)).get(timeout=20)
    pool.terminate()
    pool.join()
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError)
    assert cause.args == ("initializer",)
    assert "in fail_to_initialise" in str(cause.__cause__)
    assert capfd.readouterr().err == ""


def fail_with_a_lock():
    raise RuntimeError(threading.Lock())


def test_failing_initializer_whose_exception_does_not_pickle(capfd):
    with fastmp.Pool(1, fail_with_a_lock) as pool, pytest.raises(fastmp.WorkerDied):
        pool.map(parts.square, [1, 2])
    assert "in fail_with_a_lock" in capfd.readouterr().err


class DiesAtStart(fastmp.Process):
    def run(self):
        os._exit(3)


class PoolOfTheDead(fastmp.pool.Pool):
    @staticmethod
    def Process(ctx, *args, **kwds):
        return DiesAtStart(*args, **kwds)


def test_workers_that_cannot_begin_are_not_replaced_for_ever():
    with PoolOfTheDead(2) as pool:
        with pytest.raises(fastmp.WorkerDied, match="in its start, as all workers before it"):
            pool.map(parts.square, [1, 2])
        with pytest.raises(ValueError, match="not running"):
            pool.map(parts.square, [1, 2])


def run_a_pool_and_wait(pids):
    pool = fastmp.Pool(2)
    pool.map_async(time.sleep, [60])
    pids.put([p.pid for p in pool._pool])
    time.sleep(60)


def test_no_worker_outlives_a_killed_parent():
    pids = fastmp.SimpleQueue()
    parent = fastmp.Process(target=run_a_pool_and_wait, args=(pids,))
    parent.start()
    workers = pids.get()
    parent.kill()
    parent.join()
    eventually(lambda: not any(map(command_line, workers)))


def test_a_killed_worker(ctx):
    with ctx.Pool(2) as pool:
        results = [pool.apply_async(parts.die, (number,)) for number in range(6)]
        with pytest.raises(fastmp.WorkerDied, match="SIGKILL"):
            results[2].get(30)
        assert [results[number].get(30) for number in (0, 1, 3, 4, 5)] == [0, 1, 3, 4, 5]
        assert pool.map(parts.square, range(10)) == [n * n for n in range(10)]
