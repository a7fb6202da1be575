"""The insides of pools, executors, locks and queues that other people's code reads, under the standard names."""

import os
import threading
import time

import pytest

import fastmp

gates = []


def wait_at_gate():
    return gates[-1].wait(30)


@pytest.fixture
def gate():
    """An event that holds tasks up, inherited by workers made later; set at the end, or nobody could be joined."""
    gates.append(fastmp.Event())
    yield gates[-1]
    gates.pop().set()


@pytest.fixture
def executor():
    with fastmp.ProcessPoolExecutor(2) as executor:
        yield executor


def test_processes_of_an_executor(executor):
    assert executor._processes == {}
    assert executor._max_workers == 2
    assert executor._mp_context.get_start_method() == fastmp.get_start_method()
    executor.submit(abs, 1).result(timeout=20)
    processes = executor._processes
    assert len(processes) == 2
    assert all(process.is_alive() and process.pid == pid for pid, process in processes.items())
    assert executor._broken is False
    executor.shutdown()
    assert executor._processes is None
    assert [process.exitcode for process in processes.values()] == [0, 0]


def test_calls_of_an_executor(executor, gate):
    assert executor._queue_count == 0
    assert executor._pending_work_items == {}
    futures = [executor.submit(wait_at_gate) for _ in range(5)]
    assert executor._queue_count == 5
    pending = executor._pending_work_items
    assert {item.future for item in pending.values()} == set(futures)
    assert all(isinstance(number, int) for number in pending)
    assert executor._call_queue.qsize() == 5
    assert not executor._call_queue.empty()
    gate.set()
    assert all(future.result(timeout=20) for future in futures)
    assert executor._pending_work_items == {}
    assert executor._call_queue.empty()


def test_workers_before_the_first_call(executor):
    executor._start_executor_manager_thread()
    assert len(executor._processes) == 2
    executor._adjust_process_count()
    executor._spawn_process()
    assert len(executor._processes) == 2
    assert executor.submit(abs, -1).result(timeout=20) == 1


def test_adjust_process_count_starts_an_executor(executor):
    executor._adjust_process_count()
    assert len(executor._processes) == 2


def test_manager_of_an_executor(executor, gate):
    assert executor._executor_manager_thread is None
    future = executor.submit(wait_at_gate)
    manager = executor._executor_manager_thread
    executor._executor_manager_thread_wakeup.wakeup()
    manager.join(0.01)
    assert manager.is_alive()
    executor.shutdown(wait=False)
    assert executor._executor_manager_thread is None
    manager.join(0.01)
    assert manager.is_alive()
    gate.set()
    manager.join()
    assert not manager.is_alive()
    assert future.result(timeout=0)


def test_manager_ends_when_the_executor_is_thrown_away():
    executor = fastmp.ProcessPoolExecutor(2)
    results = executor.map(abs, range(-5, 5))
    manager, processes, calls = executor._executor_manager_thread, executor._processes, executor._call_queue
    del executor
    manager.join()
    calls.close()
    calls.cancel_join_thread()
    calls.join_thread()
    assert [process.exitcode for process in processes.values()] == [0, 0]
    assert list(results) == [abs(x) for x in range(-5, 5)]


def test_manager_ends_when_the_executor_breaks(executor):
    executor.submit(abs, 1).result(timeout=20)
    manager = executor._executor_manager_thread
    executor.submit(os._exit, 3).exception(timeout=20)
    manager.join()
    assert executor._broken


def test_a_callback_cannot_join_the_manager(executor, gate):
    future = executor.submit(wait_at_gate)
    manager, caught, done = executor._executor_manager_thread, [], threading.Event()

    def join_it(_):
        try:
            manager.join()
        except RuntimeError as error:
            caught.append(error)
        done.set()

    future.add_done_callback(join_it)
    gate.set()
    assert done.wait(20)
    assert "cannot join current thread" in str(caught[0])


def test_calls_of_a_pool(gate):
    with fastmp.Pool(2) as pool:
        assert pool._processes == 2
        assert len(pool._pool) == 2
        assert pool._state == "RUN"
        assert len(pool._cache) == pool._taskqueue.qsize() == 0
        results = [pool.apply_async(wait_at_gate) for _ in range(3)]
        assert len(pool._cache) == 3
        assert set(pool._cache.values()) == set(results)
        assert pool._cache[results[0]._job] is results[0]
        assert pool._taskqueue.empty()  # they are all sent
        many = pool.map_async(abs, range(5000), chunksize=1)
        assert pool._taskqueue.qsize() == 1
        assert not pool._taskqueue.empty()
        gate.set()
        assert many.get(30) == list(range(5000))
        assert all(result.get(30) for result in results)
        assert len(pool._cache) == pool._taskqueue.qsize() == 0


def test_repopulate_pool():
    with fastmp.Pool(2) as pool:
        before = list(pool._pool)
        pool._repopulate_pool()
        assert pool._pool == before


def test_semlock_knows_its_owner():
    for lock in fastmp.Lock(), fastmp.RLock(), fastmp.Semaphore():
        assert not lock._semlock._is_mine()
        with lock:
            assert lock._semlock._is_mine()
        assert not lock._semlock._is_mine()


@pytest.mark.parametrize("kind", [fastmp.Queue, fastmp.SimpleQueue, fastmp.JoinableQueue])
def test_reader_of_a_queue(kind):
    q = kind()
    assert q._reader.fileno() >= 0
    assert not q._reader.poll()
    assert not q._reader.poll(0.01)
    q.put(1)
    end = time.monotonic() + 20
    while not q._reader.poll(1):
        assert time.monotonic() < end
    assert q.get() == 1
    q.close()
