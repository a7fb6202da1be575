"""Pool: calls, results, errors, workers that die, the end."""

import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback
from operator import neg
from types import MappingProxyType

import pytest
from support import parts

import fastmp

try:
    import numpy  # here, as it starts threads of its own
except ImportError:
    numpy = None

needs_numpy = pytest.mark.skipif(numpy is None, reason="needs numpy")


def square(x):
    return x * x


def add(a, b=0, *, c=0):
    return a + b + c


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def fail(x):
    raise ValueError("bad item", x)


def fail_on_three(x):
    if x == 3:
        raise KeyError(x)
    return x


def stop_and_go(pid, end):
    while time.monotonic() < end:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.003)


def die(signum):
    os.kill(os.getpid(), signum)


def die_on_two(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.fixture
def pool():
    pool = fastmp.Pool(2)
    yield pool
    pool.terminate()
    pool.join()
    for process in pool._pool:
        process.close()  # pytest keeps the pool alive longer than its look at leftovers


def test_map_and_its_relatives(pool):
    assert pool.map(square, [1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]
    assert pool.map(square, range(1000)) == [x * x for x in range(1000)]
    assert pool.map(square, iter(range(7)), chunksize=3) == [x * x for x in range(7)]
    assert pool.map(square, [], chunksize=5) == []
    assert pool.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
    assert pool.starmap(add, zip(range(50), range(50), strict=False), chunksize=1) == [2 * x for x in range(50)]
    assert pool.apply(add, (1,), {"b": 2, "c": 3}) == 6
    assert pool.apply(add, [4]) == 4


def test_more_tasks_than_the_rings_hold(pool):
    assert pool.map(square, range(20_000), chunksize=1) == [x * x for x in range(20_000)]
    results = [pool.apply_async(square, (i,)) for i in range(5000)]
    assert [r.get(timeout=30) for r in results] == [x * x for x in range(5000)]


def test_imap(pool):
    assert list(pool.imap(square, range(3000))) == [x * x for x in range(3000)]
    assert list(pool.imap(square, range(20), chunksize=6)) == [x * x for x in range(20)]
    assert sorted(pool.imap_unordered(square, range(3000))) == [x * x for x in range(3000)]
    it = pool.imap(square, [7])
    assert it.next(timeout=10) == 49
    with pytest.raises(StopIteration):
        it.next()
    with pytest.raises(ValueError, match="Chunksize"):
        pool.imap(square, [1], chunksize=0)


def test_imap_asks_its_input_as_results_make_room(pool):
    asked = []
    count = 500_000  # far more than goes by while one worker is kept from its core
    stream = pool.imap(square, (asked.append(i) or i for i in range(count)))
    assert next(stream) == 0
    assert len(asked) < count // 2
    assert sum(1 for _ in stream) == count - 1


def test_imap_errors(pool):
    def broken():
        yield 1
        raise OSError("input")

    stream = pool.imap(square, broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="input"):
        next(stream)
    stream = pool.imap(fail_on_three, range(6))
    got = []
    for _ in range(6):
        try:
            got.append(next(stream))
        except KeyError as e:
            got.append(repr(e))
    assert got == [0, 1, 2, "KeyError(3)", 4, 5]
    with pytest.raises(multiprocessing.TimeoutError):
        pool.imap(pid_after, [1.0]).next(timeout=0.05)


def test_async_results(pool):
    result = pool.apply_async(pid_after, (2,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    result.wait(10)
    assert result.ready()
    assert result.successful()
    assert result.get() in [p.pid for p in pool._pool]
    mapped = pool.map_async(square, range(10))
    assert mapped.get(timeout=10) == [x * x for x in range(10)]
    assert pool.starmap_async(add, [(1, 1)]).get(timeout=10) == [2]


def test_exceptions_keep_arguments_and_traceback(pool):
    for call in (lambda: pool.map(fail, [1]), lambda: pool.apply(fail, (1,)), lambda: list(pool.imap(fail, [1]))):
        with pytest.raises(ValueError, match="bad item") as caught:
            call()
        assert caught.value.args == ("bad item", 1)
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(KeyError):
        pool.map(fail_on_three, range(10), chunksize=1)
    assert pool.apply(square, (3,)) == 9


def test_callbacks(pool):
    done, failed = threading.Event(), threading.Event()
    got = []
    pool.apply_async(square, (3,), callback=lambda x: (got.append(x), done.set()))
    pool.apply_async(fail, (3,), error_callback=lambda e: (got.append(e.args), failed.set()))
    assert done.wait(10)
    assert failed.wait(10)
    assert sorted(map(str, got)) == ["('bad item', 3)", "9"]
    everything = threading.Event()
    pool.map_async(square, range(5), callback=lambda x: (got.append(x), everything.set()))
    assert everything.wait(10)
    assert got[-1] == [0, 1, 4, 9, 16]
    pool.map_async(square, [], callback=lambda x: got.append(x))
    assert got[-1] == []


def test_raising_callback_hurts_nobody(pool, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))

    def callback(_):
        raise RuntimeError("in callback")

    assert pool.apply_async(square, (2,), callback=callback).get(timeout=10) == 4
    assert pool.apply(square, (3,)) == 9
    assert seen == [RuntimeError]


class LoadFails(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def raise_load_fails(_):
    raise LoadFails(1, 2)


def return_lock(_):
    return threading.Lock()


def exit_in_task(code):
    raise SystemExit(code)


def test_a_bad_task_spoils_only_itself(pool):
    with pytest.raises(MaybeEncodingError):
        pool.apply(return_lock, (1,))
    with pytest.raises(fastmp.TaskFailed, match=r"LoadFails: 1 .*TypeError") as caught:
        pool.apply(raise_load_fails, (1,))
    assert "in raise_load_fails" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
        pool.apply(exit_in_task, (3,))
    with fastmp.installed():
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pool.apply(lambda: 0)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pool.map(lambda x: x, [1, 2, 3])
    with pytest.raises((TypeError, pickle.PicklingError)):
        pool.map(square, [threading.Lock()], chunksize=1)
    with pytest.raises(TypeError):
        pool.map(square, 5)
    assert pool.map(square, [1, 2]) == [1, 4]


def test_killed_worker_fails_that_task_alone(pool):
    others = [pool.apply_async(pid_after, (0.2,)) for _ in range(4)]
    start = time.monotonic()
    bad = pool.apply_async(die, (signal.SIGKILL,))
    with pytest.raises(fastmp.WorkerDied, match="SIGKILL") as caught:
        bad.get(timeout=20)
    assert str(caught.value.pid) in str(caught.value)
    assert caught.value.signal == signal.SIGKILL
    assert "die" in str(caught.value)
    assert all(r.get(timeout=20) for r in others)
    assert time.monotonic() - start < 20
    assert pool.map(square, range(100)) == [x * x for x in range(100)]
    assert len(pool._pool) == 2


def test_killed_worker_in_map(pool):
    with pytest.raises(fastmp.WorkerDied, match="SIGKILL"):
        pool.map(die_on_two, range(10), chunksize=1)
    results = pool.imap(die_on_two, range(5))
    got = []
    for _ in range(5):
        try:
            got.append(next(results))
        except fastmp.WorkerDied:
            got.append("lost")
    assert got == [0, 1, "lost", 3, 4]
    assert pool.map(square, range(100)) == [x * x for x in range(100)]


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
            result = pool.map_async(square, range(2000), chunksize=1)
            victim = pool._pool[n % 2].pid
            time.sleep(0.0007 * (n % 10))
            os.kill(victim, signal.SIGKILL)
            assert outcome(result) in ([x * x for x in range(2000)], victim)
        assert pool.map(square, range(100)) == [x * x for x in range(100)]
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
    assert pool.apply_async(square, (4,)).get(timeout=10) == 16


def test_exit_code_of_a_worker_that_leaves():
    with fastmp.Pool(1) as pool, pytest.raises(fastmp.WorkerDied, match="exit code 7"):
        pool.apply(os._exit, (7,))
    pool.join()


def test_maxtasksperchild():
    with fastmp.Pool(2, maxtasksperchild=2) as pool:
        pids = pool.map(pid_after, [0.0] * 12, chunksize=1)
        assert len(set(pids)) >= 6
        assert max(map(pids.count, set(pids))) <= 2
        results = [pool.apply_async(os.getpid) for _ in range(6)]
        time.sleep(0.1)
        assert len({r.get(timeout=20) for r in results}) >= 3
    pool.join()


_initialised = []


def initialise(value):
    _initialised.append(value)


def initialised(_):
    return _initialised


def test_initializer():
    with fastmp.Pool(2, initialise, ("hello",)) as pool:
        assert pool.map(initialised, range(4)) == [["hello"]] * 4
    pool.join()
    with pytest.raises(TypeError):
        fastmp.Pool(1, initializer=5)


def fail_to_initialise():
    raise RuntimeError("initializer")


def test_failing_initializer_ends_with_one_error(capfd):
    pool = fastmp.Pool(2, fail_to_initialise)
    with pytest.raises(fastmp.WorkerDied, match="initializer") as caught:
        pool.apply_async(square, (1,)).get(timeout=20)
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
        pool.map(square, [1, 2])
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
            pool.map(square, [1, 2])
        with pytest.raises(ValueError, match="not running"):
            pool.map(square, [1, 2])


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1"):
        fastmp.Pool(0)
    with pytest.raises(ValueError, match="at least 1"):
        fastmp.Pool(-1)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        fastmp.Pool(1, maxtasksperchild=0)


def test_close_join_and_after(pool):
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(pid_after, [0.2, 0.2])
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(square, (1,))
    with pytest.raises(ValueError, match="not running"):
        pool.map(square, [1])
    pool.join()
    assert len(result.get()) == 2
    assert all(not p.is_alive() for p in pool._pool)


def test_with_terminates():
    with fastmp.Pool(2) as pool:
        workers = list(pool._pool)
        pool.apply_async(time.sleep, (60,))
        start = time.monotonic()
    pool.join()
    assert time.monotonic() - start < 10
    assert all(p.exitcode is not None for p in workers)
    with pytest.raises(ValueError, match="not running"):
        pool.__enter__()


def test_terminate_ends_busy_workers_at_once():
    pool = fastmp.Pool(2)
    for _ in range(4):
        pool.apply_async(time.sleep, (60,))
    start = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - start < 10


def test_pool_does_not_pickle(pool):
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_unclosed_pool_warns():
    pool = fastmp.Pool(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert any(w.category is ResourceWarning for w in caught)


def test_a_result_keeps_its_pool_only_until_it_is_there():
    pool = fastmp.Pool(1)
    result = pool.apply_async(square, (3,))
    assert result._pool is pool
    assert result.get(timeout=10) == 9
    assert result._pool is None
    pool.terminate()
    pool.join()


def test_workers_are_daemons_with_names(pool):
    assert all(p.daemon for p in pool._pool)
    assert all("PoolWorker" in p.name for p in pool._pool)
    assert type(pool).__module__ == "fastmp.pool"


def test_no_thread_until_one_is_needed():
    before = threading.active_count()
    with fastmp.Pool(2) as pool:
        pool.map(square, range(5000), chunksize=1)
        pool.apply(square, (1,))
        assert threading.active_count() == before
        pool.apply_async(square, (1,), callback=square).get(timeout=10)
        assert threading.active_count() == before + 1
    pool.join()


def test_threads_wait_each_for_its_own(pool):
    got = {}

    def call(n):
        got[n] = pool.map(square, range(n, n + 500), chunksize=1)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == {n: [x * x for x in range(n, n + 500)] for n in range(4)}


def test_a_thread_is_told_at_once_of_a_result_that_another_one_took(pool):
    """Both wait; whichever of them takes the results, the other does not sleep on beside its own."""
    late = []

    def wait_for_many():
        for _ in range(30):
            start = time.monotonic()
            pool.apply(square, (1,))
            late.append(time.monotonic() - start)

    threads = [threading.Thread(target=wait_for_many) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(late)[len(late) // 2] < 0.03  # the re-check period is 0.04


def test_ctrl_c_ends_a_map():
    with fastmp.Pool(2) as pool:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            pool.map(time.sleep, [30, 30])
        timer.join()
    pool.join()
    assert time.monotonic() - start < 10


def run_a_pool_and_wait(pids):
    pool = fastmp.Pool(2)
    pool.map_async(time.sleep, [60])
    pids.put([p.pid for p in pool._pool])
    time.sleep(60)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_no_worker_outlives_a_killed_parent():
    pids = fastmp.SimpleQueue()
    parent = fastmp.Process(target=run_a_pool_and_wait, args=(pids,))
    parent.start()
    workers = pids.get()
    parent.kill()
    parent.join()
    end = time.monotonic() + 1
    while not all(map(is_gone, workers)):
        assert time.monotonic() < end
        time.sleep(0.01)


class Counter:
    def __init__(self):
        self.n = 0

    def method(self, x):
        return self.n + x


def test_a_callable_that_changes_is_sent_as_it_is(pool):
    counter = Counter()
    assert pool.apply(counter.method, (1,)) == 1
    counter.n = 10
    assert pool.apply(counter.method, (1,)) == 11
    assert pool.map(counter.method, [1, 2]) == [11, 12]


@needs_numpy
def test_arrays_come_back_as_views(pool):
    arrays = pool.map(numpy.arange, [100_000, 50_000], chunksize=1)
    assert [len(a) for a in arrays] == [100_000, 50_000]
    assert arrays[0][-1] == 99_999


def raise_unpicklable(text):
    raise LookupError(text, threading.Lock())


def test_an_exception_that_cannot_be_pickled_is_still_told(pool):
    with pytest.raises(MaybeEncodingError, match=r"LookupError\('the text'") as caught:
        pool.apply(raise_unpicklable, ("the text",))
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in raise_unpicklable" in str(caught.value.__cause__)


# ---- under every start method


def keywords(*args, **kwds):
    return args, kwds


def test_arguments_of_any_kind(pool):
    assert pool.apply(keywords, [1, 2]) == ((1, 2), {})
    assert pool.apply(keywords, iter((1,)), MappingProxyType({"a": 2})) == ((1,), {"a": 2})
    assert pool.apply(keywords, kwds={}) == ((), {})
    with pytest.raises(TypeError):
        pool.apply(keywords, 5)
    with pytest.raises(TypeError):
        pool.apply(keywords, (), 5)
    with pytest.raises(TypeError):
        pool.apply(keywords, (), "ab")


def test_the_whole_of_a_pool(ctx):
    with ctx.Pool(2) as pool:
        assert pool.map(parts.square, range(100)) == [n * n for n in range(100)]
        assert list(pool.imap(parts.square, range(10), chunksize=3)) == [n * n for n in range(10)]
        assert sorted(pool.imap_unordered(parts.square, range(10))) == [n * n for n in range(10)]
        assert set(pool.map(parts.pid_after, [0.2] * 2, chunksize=1)) <= {worker.pid for worker in pool._pool}
        with pytest.raises(ValueError, match=r"^3$") as caught:
            pool.apply(parts.fail, (3,))
        assert "in fail" in str(caught.value.__cause__)
        slow = pool.apply_async(parts.pid_after, (0.3,))
        with pytest.raises(fastmp.TimeoutError):
            slow.get(0)
        assert slow.get(30) > 0
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.apply(parts.square, (1,))
        pool.join()


def test_a_killed_worker(ctx):
    with ctx.Pool(2) as pool:
        results = [pool.apply_async(parts.die, (number,)) for number in range(6)]
        with pytest.raises(fastmp.WorkerDied, match="SIGKILL"):
            results[2].get(30)
        assert [results[number].get(30) for number in (0, 1, 3, 4, 5)] == [0, 1, 3, 4, 5]
        assert pool.map(parts.square, range(10)) == [n * n for n in range(10)]


def test_a_worker_s_tasks_are_counted(ctx):
    with ctx.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(parts.pid_after, (0,)) for _ in range(3)]
    assert pids[0] == pids[1] != pids[2]
