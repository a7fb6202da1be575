"""ProcessPoolExecutor: futures, errors, broken pools, the end."""

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, as_completed, wait
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback

import pytest

import fastmp


def square(x):
    return x * x


def add(a, b=0):
    return a + b


def sleep_then(seconds, value):
    time.sleep(seconds)
    return value


def touch_late(path, seconds=0.05):
    time.sleep(seconds)
    path.touch()
    return path


def fail(x):
    raise ValueError("bad", x)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def executor():
    with fastmp.ProcessPoolExecutor(2) as executor:
        yield executor


def test_submit_and_map(executor):
    assert executor.submit(square, 5).result() == 25
    assert executor.submit(add, 1, b=2).result(timeout=10) == 3
    assert list(executor.map(square, range(10))) == [x * x for x in range(10)]
    assert list(executor.map(add, range(10), range(10), chunksize=3)) == [2 * x for x in range(10)]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(square, [1], chunksize=0)


def test_real_futures(executor):
    future = executor.submit(square, 3)
    assert isinstance(future, concurrent.futures.Future)
    assert type(future).__module__.startswith("fastmp")
    assert isinstance(executor, concurrent.futures.Executor)
    assert future.result() == 9
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.exception() is None
    assert "finished returned int" in repr(future)


def test_more_calls_than_the_rings_hold(executor):
    futures = [executor.submit(square, i) for i in range(5000)]
    assert [f.result(timeout=30) for f in futures] == [x * x for x in range(5000)]


def test_done_without_waiting(executor):
    future = executor.submit(square, 3)
    end = time.monotonic() + 10
    while not future.done():
        assert time.monotonic() < end
        time.sleep(0.001)
    assert future.result(timeout=0) == 9


def test_wait_and_as_completed(executor):
    futures = [executor.submit(sleep_then, 0.05 * (3 - i), i) for i in range(3)]
    assert [f.result() for f in as_completed(futures, timeout=20)] != []
    done, pending = wait(futures, timeout=20)
    assert len(done) == 3
    assert not pending
    slow = executor.submit(sleep_then, 0.5, 1)
    quick = executor.submit(square, 2)
    done, pending = wait([slow, quick], return_when=concurrent.futures.FIRST_COMPLETED, timeout=20)
    assert quick in done
    failing = [executor.submit(fail, 1), slow]
    done, _ = wait(failing, return_when=concurrent.futures.FIRST_EXCEPTION, timeout=20)
    assert failing[0] in done


def test_callbacks_run_without_anybody_waiting(executor):
    called = threading.Event()
    future = executor.submit(square, 4)
    future.add_done_callback(lambda f: called.set())
    assert called.wait(10)
    late = []
    future.add_done_callback(late.append)
    assert late == [future]


def test_asyncio(executor):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, square, i) for i in range(50)))

    assert asyncio.run(main()) == [i * i for i in range(50)]


def test_exceptions(executor):
    future = executor.submit(fail, 7)
    with pytest.raises(ValueError, match="bad") as caught:
        future.result()
    assert caught.value.args == ("bad", 7)
    assert isinstance(caught.value.__cause__, _RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(ValueError, match="bad"):
        list(executor.map(fail, [1]))


def test_timeouts(executor):
    future = executor.submit(sleep_then, 0.5, "late")
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        list(executor.map(sleep_then, [0.5], [1], timeout=0.01))
    assert future.result(timeout=10) == "late"


def test_cancel(executor):
    blockers = [executor.submit(sleep_then, 0.6, i) for i in range(2)]
    end = time.monotonic() + 10
    while not all(b.running() for b in blockers):
        assert time.monotonic() < end
        time.sleep(0.005)
    next_in_turn = executor.submit(square, 2)  # counts as running, as in the standard library
    pending = executor.submit(square, 3)
    assert not next_in_turn.cancel()
    assert pending.cancel()
    assert pending.cancelled()
    assert pending.done()
    with pytest.raises(CancelledError):
        pending.result()
    assert not blockers[0].cancel()
    assert [b.result(timeout=10) for b in blockers] == [0, 1]
    done, _ = wait([pending], timeout=10)
    assert pending in done


class Asking:
    """A waiter that looks at another future while it hears of a cancelled one: what waits is sent meanwhile."""

    def __init__(self, other):
        self.other = other
        self.heard = []

    def add_cancelled(self, future):
        self.heard.append(future)
        self.other.done()


def test_calls_are_sent_while_a_waiter_hears_of_a_cancelled_one():
    with fastmp.ProcessPoolExecutor(1) as executor:
        executor.submit(time.sleep, 0.5)
        futures = [executor.submit(square, x) for x in range(1200)]  # more than are sent at one time
        waiter = Asking(futures[-1])
        cancelled = futures[1100:1110]
        for future in cancelled:
            future._waiters.append(waiter)
            assert future.cancel()
        assert [future.result(20) for future in futures if future not in cancelled] == [
            x * x for x in range(1200) if x not in range(1100, 1110)
        ]
        assert waiter.heard == cancelled


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_thrown_away_cancels_the_rest(executor, tmp_path, chunksize):
    names = [tmp_path / str(number) for number in range(20)]
    results = executor.map(touch_late, names, chunksize=chunksize)
    assert next(results) == names[0]
    results.close()
    assert executor.submit(square, 2).result(timeout=10) == 4
    assert not names[-1].exists()


def test_map_begins_at_once_and_ends_with_the_shortest(executor, tmp_path):
    results = executor.map(touch_late, [tmp_path / "a", tmp_path / "b"], [0.0])
    end = time.monotonic() + 10
    while not (tmp_path / "a").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    assert list(results) == [tmp_path / "a"]


def test_map_keeps_no_result(executor):
    results = executor.map(bytearray, [10, 10])
    first = next(results)
    assert sys.getrefcount(first) == 2
    assert len(list(results)) == 1


def test_unpicklable(executor):
    with fastmp.installed(), pytest.raises(Exception, match=r"pickle|lambda|local"):
        executor.submit(lambda: 0).result(timeout=10)
    with pytest.raises(Exception, match=r"pickle|lock"):
        executor.submit(square, threading.Lock()).result(timeout=10)
    assert executor.submit(square, 2).result() == 4


class Loads:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *args):
        self.state = function, args

    def __reduce__(self):
        return self.state


def load(function, *args):
    return Loads(function, *args)


@pytest.mark.parametrize("what", [(fail, 1), (die,), (sys.exit, 3)])
def test_a_task_that_cannot_be_unpickled_breaks_the_executor(what, capfd):
    with fastmp.ProcessPoolExecutor(2) as executor, pytest.raises(BrokenProcessPool):
        executor.submit(square, Loads(*what)).result(timeout=20)
    capfd.readouterr()


def test_a_result_that_cannot_be_unpickled_breaks_the_executor():
    with fastmp.ProcessPoolExecutor(2) as executor:
        bad = executor.submit(load, fail, 1)
        other = executor.submit(sleep_then, 5, 1)
        with pytest.raises(BrokenProcessPool) as caught:
            bad.result(timeout=20)
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(BrokenProcessPool):
            other.result(timeout=20)


def test_fail_task_spares_the_others_what_cannot_be_unpickled():
    with fastmp.ProcessPoolExecutor(2, on_worker_death="fail-task") as executor:
        with pytest.raises(ValueError, match="bad"):
            executor.submit(square, Loads(fail, 1)).result(timeout=20)
        with pytest.raises(ValueError, match="bad"):
            executor.submit(load, fail, 1).result(timeout=20)
        assert executor.submit(square, 3).result(timeout=20) == 9


@pytest.mark.parametrize("how", ["result", "wait", "callback"])
def test_killed_worker_breaks_the_executor(how):
    with fastmp.ProcessPoolExecutor(2) as executor:
        waiting = [executor.submit(sleep_then, 5, i) for i in range(3)]
        bad = executor.submit(die)
        victim = next(iter(executor._processes))
        os.kill(victim, signal.SIGKILL)
        if how == "wait":
            assert len(wait([bad, *waiting], timeout=20).done) == 4
        elif how == "callback":
            called = threading.Event()
            bad.add_done_callback(lambda f: called.set())
            assert called.wait(20)
        with pytest.raises(BrokenProcessPool):
            bad.result(timeout=20)
        for future in waiting:
            with pytest.raises(BrokenProcessPool):
                future.result(timeout=20)
        with pytest.raises(BrokenProcessPool):
            executor.submit(square, 1)


def test_on_worker_death_fail_task():
    with fastmp.ProcessPoolExecutor(2, on_worker_death="fail-task") as executor:
        others = [executor.submit(sleep_then, 0.1, i) for i in range(4)]
        with pytest.raises(fastmp.WorkerDied, match="SIGKILL"):
            executor.submit(die).result(timeout=20)
        assert [f.result(timeout=20) for f in others] == [0, 1, 2, 3]
        assert executor.submit(square, 5).result(timeout=20) == 25
    with pytest.raises(ValueError, match="on_worker_death"):
        fastmp.ProcessPoolExecutor(1, on_worker_death="shrug")


def fail_to_initialise():
    raise RuntimeError("initializer")


def test_failing_initializer():
    with fastmp.ProcessPoolExecutor(2, initializer=fail_to_initialise) as executor:
        with pytest.raises(BrokenProcessPool) as caught:
            executor.submit(square, 1).result(timeout=20)
        cause = caught.value.__cause__
        assert isinstance(cause, RuntimeError)
        assert "in fail_to_initialise" in str(cause.__cause__)


class LoadFails(Exception):
    def __init__(self, a, b):
        super().__init__(a)


class NoText(LoadFails):
    def __str__(self):
        raise ValueError("no text")


def raise_it(kind):
    raise kind(1, 2)


@pytest.mark.parametrize(("kind", "text"), [(LoadFails, "1"), (NoText, "__str__ fails")])
def test_an_exception_that_cannot_be_unpickled(executor, kind, text):
    with pytest.raises(fastmp.TaskFailed) as caught:
        executor.submit(raise_it, kind).result(timeout=20)
    assert caught.value.type_name.endswith(kind.__name__)
    assert text in caught.value.text
    assert caught.value.problem.startswith("TypeError")
    assert "in raise_it" in str(caught.value.__cause__)
    assert executor.submit(square, 3).result(timeout=20) == 9


def return_a_lock():
    return threading.Lock()


def test_a_result_that_cannot_be_pickled(executor):
    with pytest.raises(Exception, match=r"pickle") as caught:
        executor.submit(return_a_lock).result(timeout=20)
    assert isinstance(caught.value.__cause__, _RemoteTraceback)
    assert executor.submit(square, 3).result(timeout=20) == 9


def test_exit_in_a_task(executor):
    with pytest.raises(SystemExit) as caught:
        executor.submit(sys.exit, 3).result(timeout=20)
    assert caught.value.code == 3
    assert executor.submit(square, 3).result(timeout=20) == 9


def test_a_raising_callback_hurts_nobody(executor, caplog):
    called = threading.Event()
    future = executor.submit(sleep_then, 0.2, 1)
    future.add_done_callback(lambda future: 1 / 0)
    future.add_done_callback(lambda future: called.set())
    assert called.wait(20)
    assert "exception calling callback" in caplog.text
    assert executor.submit(square, 3).result(timeout=20) == 9


def test_a_cancelled_wait_of_asyncio(executor):
    async def main():
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(executor, time.sleep, 1) for _ in range(2)]
        pending = [loop.run_in_executor(executor, time.sleep, 1000) for _ in range(8)][3:]
        for future in pending:
            future.cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(running[0], 0.01)
        assert all(future.cancelled() for future in pending)

    asyncio.run(main())
    executor.kill_workers()


def test_shutdown():
    executor = fastmp.ProcessPoolExecutor(2)
    futures = [executor.submit(sleep_then, 0.1, i) for i in range(4)]
    workers = list(executor._processes.values())
    executor.shutdown()
    assert [f.result(timeout=0) for f in futures] == [0, 1, 2, 3]
    assert all(p.exitcode == 0 for p in workers)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    executor.shutdown()


def test_shutdown_without_waiting():
    executor = fastmp.ProcessPoolExecutor(2)
    futures = [executor.submit(sleep_then, 0.1, i) for i in range(4)]
    start = time.monotonic()
    executor.shutdown(wait=False)
    assert time.monotonic() - start < 0.1 or any(not f.done() for f in futures)
    assert [f.result(timeout=20) for f in futures] == [0, 1, 2, 3]
    end = time.monotonic() + 20
    while any(t.name == "fastmp-shutdown" for t in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_shutdown_cancelling():
    executor = fastmp.ProcessPoolExecutor(1)
    futures = [executor.submit(sleep_then, 0.2, i) for i in range(20)]
    executor.shutdown(cancel_futures=True)
    assert all(f.done() for f in futures)
    assert 15 <= sum(f.cancelled() for f in futures) < 20


def test_bad_arguments():
    with pytest.raises(ValueError, match="greater than 0"):
        fastmp.ProcessPoolExecutor(0)
    with pytest.raises(TypeError):
        fastmp.ProcessPoolExecutor(1, initializer=3)
    with pytest.raises(TypeError):
        fastmp.ProcessPoolExecutor(1, max_tasks_per_child="2")
    with pytest.raises(ValueError, match="incompatible"):
        fastmp.ProcessPoolExecutor(1, mp_context=fastmp.get_context("fork"), max_tasks_per_child=2)


@pytest.mark.parametrize("context", [None, "spawn", "forkserver"])
def test_max_tasks_per_child(servers, context):
    chosen = context and fastmp.get_context(context)
    with fastmp.ProcessPoolExecutor(1, chosen, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result(timeout=20) for _ in range(6)]
    assert len(set(pids)) == 3


def test_ctrl_c_ends_a_wait():
    with fastmp.ProcessPoolExecutor(1) as executor:
        future = executor.submit(sleep_then, 1.0, 1)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        timer.join()


def test_map_with_a_buffer_asks_its_input_as_results_are_taken(executor):
    asked = []

    def numbers():
        for number in range(10):
            asked.append(number)
            yield number

    results = executor.map(square, numbers(), buffersize=3)
    assert asked == [0, 1, 2]
    assert next(results) == 0
    assert asked == [0, 1, 2, 3]
    assert list(results) == [x * x for x in range(1, 10)]
    assert list(executor.map(add, range(7), range(7), chunksize=2, buffersize=1)) == [2 * x for x in range(7)]
    assert list(executor.map(square, [], buffersize=2)) == []


def test_map_with_a_buffer_thrown_away_asks_no_more(executor):
    numbers = iter(range(10))
    results = executor.map(square, numbers, buffersize=2)
    results.close()
    assert next(numbers) == 2


def test_map_with_a_buffer_does_not_keep_its_executor():
    executor = fastmp.ProcessPoolExecutor(1)
    results = executor.map(square, range(10), buffersize=2)
    manager = executor._executor_manager_thread
    del executor
    assert list(results) == [0, 1]
    manager.join()


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_map_with_a_bad_buffer(executor, size, error):
    with pytest.raises(error, match="buffersize"):
        executor.map(square, [1], buffersize=size)


@pytest.mark.parametrize("on_worker_death", ["break", "fail-task"])
@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_workers_are_ended_at_once(how, on_worker_death):
    executor = fastmp.ProcessPoolExecutor(2, on_worker_death=on_worker_death)
    futures = [executor.submit(time.sleep, 1000) for _ in range(10)]
    workers, manager = list(executor._processes.values()), executor._executor_manager_thread
    getattr(executor, how)()
    manager.join()
    assert {worker.exitcode for worker in workers} == {-signal.SIGKILL if "kill" in how else -signal.SIGTERM}
    assert all(future.cancelled() or isinstance(future.exception(0), BrokenProcessPool) for future in futures)
    assert any(future.cancelled() for future in futures)
    with pytest.raises(RuntimeError, match=r"shutdown|terminated"):
        executor.submit(square, 1)
    getattr(executor, how)()


def test_workers_that_are_not_there_are_ended_too():
    executor = fastmp.ProcessPoolExecutor(2)
    executor.terminate_workers()
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(square, 1)
    executor.kill_workers()


def test_ctrl_c_leaves_the_block_at_once():
    """The calls would take an hour; the test has a minute."""
    with pytest.raises(KeyboardInterrupt), fastmp.ProcessPoolExecutor(2) as executor:  # noqa: PT012
        futures = [executor.submit(time.sleep, 3600) for _ in range(10)]
        workers = list(executor._processes.values())
        raise KeyboardInterrupt
    assert all(future.done() for future in futures)
    assert [worker.exitcode for worker in workers] == [-signal.SIGTERM] * 2
