"""Six tasks on two workers, one of them bad: that task alone fails, soon and with an error that tells what became of
it; the others finish, and the pool goes on. The executor keeps the standard rule unless told otherwise.
"""

import pickle
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.pool import MaybeEncodingError

import pytest
from support.bad_tasks import good, killed, leaves, raises_load_fails, returns_lock

import fastmp

METHODS = fastmp.get_all_start_methods()
pytestmark = pytest.mark.usefixtures("servers")
SOON_SECONDS = 15  # 100 ms on an idle machine; what matters here is that it is no hang


def check_error(error, bad, pids):
    """It says what a reader needs to know about the task that failed."""
    text = str(error)
    if bad is killed:
        assert isinstance(error, fastmp.WorkerDied)
        assert error.pid in pids
        assert error.signal == signal.SIGKILL
        assert all(word in text for word in (str(error.pid), "SIGKILL", "killed"))
    elif bad is leaves:
        assert "SystemExit(3)" in text
    elif bad is raises_load_fails:
        assert "LoadFails" in text + str(error.__cause__)
    else:
        assert isinstance(error, (MaybeEncodingError, TypeError, pickle.PicklingError))
        assert "lock" in text


BAD = [killed, leaves, raises_load_fails, returns_lock]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", BAD)
def test_pool(method, bad):
    with fastmp.get_context(method).Pool(2) as pool:
        assert pool.map(good, range(2)) == [0, 1]  # the workers are there
        pids = [process.pid for process in pool._pool]
        start = time.monotonic()
        results = [pool.apply_async(bad if number == 3 else good, (number,)) for number in range(6)]
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which, check_error says
            results[3].get(timeout=SOON_SECONDS)
        assert not isinstance(caught.value, fastmp.TimeoutError)
        assert time.monotonic() - start < SOON_SECONDS
        check_error(caught.value, bad, pids)
        others = [results[number].get(timeout=SOON_SECONDS) for number in (0, 1, 2, 4, 5)]
        assert others == [0, 1, 2, 4, 5]
        assert pool.map(good, range(4)) == [0, 1, 2, 3]
    pool.join()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [killed, returns_lock])
def test_executor_that_fails_the_task(method, bad):
    context = fastmp.get_context(method)
    with fastmp.ProcessPoolExecutor(2, mp_context=context, on_worker_death="fail-task") as executor:
        assert list(executor.map(good, range(2))) == [0, 1]
        pids = list(executor._processes)
        futures = [executor.submit(bad if number == 3 else good, number) for number in range(6)]
        check_error(futures[3].exception(timeout=SOON_SECONDS), bad, pids)
        assert [futures[number].result(timeout=SOON_SECONDS) for number in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]
        assert executor.submit(good, 7).result(timeout=SOON_SECONDS) == 7


@pytest.mark.parametrize("method", METHODS)
def test_executor_of_the_standard_rule(method):
    with fastmp.ProcessPoolExecutor(2, mp_context=fastmp.get_context(method)) as executor:
        slow = [executor.submit(time.sleep, 30) for _ in range(1)]
        bad = executor.submit(killed, 3)
        for future in [bad, *slow]:
            assert isinstance(future.exception(timeout=SOON_SECONDS), BrokenProcessPool)
        with pytest.raises(BrokenProcessPool):
            executor.submit(good, 1)


@pytest.mark.parametrize("method", METHODS)
def test_executor_reports_what_a_task_raises(method):
    with fastmp.ProcessPoolExecutor(1, mp_context=fastmp.get_context(method)) as executor:
        assert isinstance(executor.submit(leaves, 3).exception(timeout=SOON_SECONDS), SystemExit)
        assert executor.submit(good, 1).result(timeout=SOON_SECONDS) == 1
