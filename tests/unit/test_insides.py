"""The insides of pools, executors, locks and queues that other people's code reads, under the standard names."""

import logging.handlers
import multiprocessing.pool
import os
import pickle
import threading
import time
from contextlib import nullcontext

import pytest
from support import targets

import fastmp
import fastmp.pool

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


class PickleQueue:
    """A queue that pickles in a way of its own: it notes what passes."""

    def __init__(self, context):
        self._reader, self._writer = context.Pipe(duplex=False)
        self._rlock = context.Lock()

    def get(self):
        with self._rlock:
            return self._recv()

    def put(self, thing):
        self._send(thing)

    def _send(self, thing):
        self._writer.send_bytes(pickle.dumps(("own", thing)))

    def _recv(self):
        mark, thing = pickle.loads(self._reader.recv_bytes())
        assert mark == "own"
        return thing


class PoolWithQueues(fastmp.pool.Pool):
    def _setup_queues(self):
        self._inqueue, self._outqueue = PickleQueue(self._ctx), PickleQueue(self._ctx)
        self._quick_put, self._quick_get = self._inqueue._send, self._outqueue._recv


class PoolOfPools(PoolWithQueues):
    def map(self, *args, **options):
        return super().map(*args, **options)


@pytest.mark.parametrize("kind", [PoolWithQueues, PoolOfPools])
def test_pool_with_queues_of_its_own(kind):
    with kind(2, maxtasksperchild=5) as pool:
        assert isinstance(pool, fastmp.pool.Pool)
        assert type(pool._inqueue) is PickleQueue
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        assert pool.apply_async(divmod, (7, 2)).get(20) == (3, 1)
        assert list(pool.imap(abs, range(5), chunksize=2)) == list(range(5))
        with pytest.raises(ZeroDivisionError):
            pool.apply(divmod, (1, 0))
        pool.close()
        pool.join()


class PoolWithWorkers(fastmp.pool.Pool):
    """Starts its workers itself, on the queues that the standard pool makes."""

    def _repopulate_pool(self):
        while len(self._pool) < self._processes:
            worker = self._ctx.Process(target=targets.serve, args=(self._inqueue, self._outqueue), daemon=False)
            worker.start()
            self._pool.append(worker)


def test_pool_with_workers_of_its_own(ctx):
    with PoolWithWorkers(2, context=ctx) as pool:
        assert pool.apply(abs, (-1,)) == ("own", 1)
        results = [pool.apply_async(divmod, (n, 3)) for n in range(20)]
        assert [result.get(30) for result in results] == [("own", divmod(n, 3)) for n in range(20)]
        pool.close()
        pool.join()


def test_only_who_changes_the_insides_has_the_standard_engine():
    class Named(fastmp.pool.Pool):
        @staticmethod
        def Process(ctx, *args, **options):
            return ctx.Process(*args, **options, name="mine")

        def _more(self):
            return 1

    assert hasattr(Named, "_start_worker")
    assert not issubclass(Named, multiprocessing.pool.ThreadPool.__base__)
    assert issubclass(PoolOfPools, multiprocessing.pool.ThreadPool.__base__)


def series(pool, func, items, chunksize=1):
    """`imap` for functions of several arguments, as it is made from a pool's insides in many programs."""
    pool._check_running()
    batches = multiprocessing.pool.Pool._get_tasks(func, items, chunksize)
    result = multiprocessing.pool.IMapIterator(pool)
    tasks = ((result._job, n, multiprocessing.pool.starmapstar, (batch,), {}) for n, batch in enumerate(batches))
    pool._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)


@pytest.mark.parametrize("way", [nullcontext, fastmp.installed])
def test_tasks_put_into_the_task_queue(way):
    with way(), fastmp.Pool(2) as pool:
        assert list(series(pool, divmod, [(n, 3) for n in range(100)], 7)) == [divmod(n, 3) for n in range(100)]
        assert list(series(pool, divmod, [])) == []
        with pytest.raises(ZeroDivisionError):
            list(series(pool, divmod, [(1, 1), (1, 0)]))
        assert pool._cache == {}


@pytest.mark.parametrize("name", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_queues_have_the_standard_methods_and_no_others(name):
    def public(package):
        return {method for method in dir(getattr(package, name)()) if not method.startswith("_")}

    batches = set() if name == "SimpleQueue" else {"put_many", "get_many"}
    assert public(fastmp) == public(multiprocessing) | batches


def test_results_are_the_standard_ones():
    standard = multiprocessing.pool
    with fastmp.Pool(1) as pool:
        assert isinstance(pool.apply_async(abs, (1,)), standard.AsyncResult)
        assert isinstance(pool.map_async(abs, [1]), standard.MapResult)
        assert isinstance(pool.imap(abs, [1]), standard.IMapIterator)
        assert isinstance(pool.imap_unordered(abs, [1]), standard.IMapUnorderedIterator)


def test_logging_through_a_queue():
    """`QueueListener` takes a queue with `task_done` for a JoinableQueue."""
    queue, records, handler = fastmp.Queue(), [], logging.Handler()
    handler.emit = records.append
    listener = logging.handlers.QueueListener(queue, handler)
    listener.start()
    for number in range(3):
        queue.put(logging.makeLogRecord({"msg": f"record {number}"}))
    listener.stop()
    assert [record.getMessage() for record in records] == ["record 0", "record 1", "record 2"]
