"""Pool: how it begins and ends, and its workers with it."""

import gc
import os
import pickle
import threading
import time
import warnings

import pytest
from support.parts import pid_after, square
from support.processes import interrupted_after, takes

import fastmp
from fastmp import _pool_upkeep


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


def test_ctrl_c_ends_a_map():
    with takes(0, 10):
        with fastmp.Pool(2) as pool, interrupted_after(0.3), pytest.raises(KeyboardInterrupt):
            pool.map(time.sleep, [30, 30])
        pool.join()


def test_a_worker_s_tasks_are_counted(ctx):
    with ctx.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(pid_after, (0,)) for _ in range(3)]
    assert pids[0] == pids[1] != pids[2]


def test_the_end_of_a_pool_waits_for_the_burial_of_a_worker(monkeypatch):
    """The helper may be at it, and finds the worker's place as it was."""
    pool = fastmp.get_context("fork").Pool(2)
    assert pool.apply(abs, (-1,)) == 1
    bury, end_worker, begun, errors = pool._bury_worker, _pool_upkeep.end_worker, threading.Event(), []

    def bury_slowly(place, process):
        begun.set()
        time.sleep(0.2)
        bury(place, process)

    def maintain():
        try:
            pool._maintain_pool()
        except BaseException as error:
            errors.append(error)
            raise

    def end_beside_a_burial(process):
        end_worker(process)
        if not helper.is_alive() and not begun.is_set():
            helper.start()
            assert begun.wait(10)

    helper = threading.Thread(target=maintain)
    monkeypatch.setattr(pool, "_bury_worker", bury_slowly)
    monkeypatch.setattr(_pool_upkeep, "end_worker", end_beside_a_burial)
    pool.terminate()
    helper.join()
    pool.join()
    assert not errors
