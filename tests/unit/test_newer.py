"""What newer Pythons have added to multiprocessing, which fastmp has on every one. For executors: their own tests."""

import gc
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

import fastmp
from fastmp.managers import BaseManager, SharedMemoryManager, SyncManager
from fastmp.shared_memory import SharedMemory


@pytest.fixture(scope="module")
def manager():
    with fastmp.Manager() as manager:
        yield manager


@pytest.fixture(autouse=True)
def the_manager_is_there(request):
    """Made before the look at what a test leaves."""
    return request.getfixturevalue("manager") if "manager" in request.fixturenames else None


# ---- processes and locks, 3.14 ----


def sleep_in(pipe):
    pipe.send("ready")
    time.sleep(1000)


def handle_in(pipe):
    signal.signal(signal.SIGINT, lambda *_: os._exit(7))
    sleep_in(pipe)


@pytest.mark.parametrize(("target", "code"), [(sleep_in, 1), (handle_in, 7)])
def test_interrupt(target, code, capfd):
    here, there = fastmp.Pipe()
    process = fastmp.Process(target=target, args=(there,))
    process.start()
    assert here.recv() == "ready"
    process.interrupt()
    process.join()
    assert process.exitcode == code
    process.interrupt()
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.interrupt()
    for end in here, there:
        end.close()
    assert ("KeyboardInterrupt" in capfd.readouterr().err) == (code == 1)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_locked(kind):
    lock = getattr(fastmp, kind)()
    assert not lock.locked()
    with lock:
        assert lock.locked()
    assert not lock.locked()


# ---- managers, 3.14 ----


def test_manager_is_of_the_standard_types(manager):
    import multiprocessing.managers as standard

    assert isinstance(manager, standard.SyncManager)
    assert type(manager).__module__ == "fastmp.managers"
    assert issubclass(SharedMemoryManager, standard.SharedMemoryManager)
    assert issubclass(SyncManager, BaseManager)


def test_servers_are_fastmps_processes(manager):
    assert type(manager._process).__module__ == "fastmp.process"


def test_a_context_given_by_position():
    manager = BaseManager(None, None, "pickle", fastmp.get_context("fork"))
    assert manager._ctx is fastmp.get_context("fork")


def test_set_proxy(manager):
    shared = manager.set([1, 2])
    assert shared == {1, 2}
    assert (len(shared), 1 in shared, 3 in shared) == (2, True, False)
    shared.add(3)
    shared.discard(9)
    assert sorted(shared) == [1, 2, 3]
    assert shared | {4} == {4} | shared == shared.union([4]) == {1, 2, 3, 4}
    assert shared & {1} == {1} & shared == shared.intersection([1]) == {1}
    assert shared - {1} == {2, 3}
    assert {1, 9} - shared == {9}
    assert shared ^ {1} == {1} ^ shared == {2, 3}
    assert shared <= {1, 2, 3}
    assert shared < {1, 2, 3, 4}
    assert shared >= {1}
    assert shared.issuperset({1})
    assert not shared.isdisjoint({1})
    assert shared.copy() == {1, 2, 3}
    with pytest.raises(KeyError):
        shared.remove(9)


def test_set_proxy_in_place(manager):
    before = shared = manager.set([1])
    shared |= {2, 3}
    shared &= {1, 2}
    shared -= {1}
    shared ^= {5}
    shared.update([6])
    assert shared is before
    assert shared.copy() == {2, 5, 6}
    shared.clear()
    assert len(shared) == 0


def test_list_proxy(manager):
    shared = manager.list([1, 2])
    assert shared.copy() == [1, 2]
    before = shared
    shared += [3]
    shared *= 2
    assert shared is before
    assert list(shared) == [1, 2, 3, 1, 2, 3]
    shared.clear()
    assert len(shared) == 0


def test_dict_proxy(manager):
    shared = manager.dict(a=1)
    before = shared
    shared |= {"b": 2}
    assert shared is before
    assert shared | {"c": 3} == {"a": 1, "b": 2, "c": 3}
    assert {"z": 0} | shared == {"z": 0, "a": 1, "b": 2}
    assert list(reversed(shared)) == ["b", "a"]
    assert list(shared) == ["a", "b"]
    assert shared.fromkeys([1, 2]) == {1: None, 2: None}


def test_lock_proxy(manager):
    lock = manager.Lock()
    assert not lock.locked()
    with lock:
        assert lock.locked()


@pytest.mark.skipif(not hasattr(threading.RLock(), "locked"), reason="threads' own have it from 3.14 on")
def test_rlock_proxy(manager):
    assert not manager.RLock().locked()


def add_to(shared):
    shared.add(os.getpid())


def test_proxies_reach_other_processes(manager):
    shared = manager.set()
    process = fastmp.Process(target=add_to, args=(shared,))
    process.start()
    process.join()
    assert shared.copy() == {process.pid}


# ---- shared memory, 3.13 ----


def test_a_segment_that_is_not_tracked():
    """The program ends and leaves it to others, without a warning."""
    script = """
        from fastmp.shared_memory import SharedMemory
        segment = SharedMemory(create=True, size=10, track=False)
        segment.buf[:3] = b"abc"
        print(segment.name)
    """
    command = [sys.executable, "-c", inspect.cleandoc(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    segment = SharedMemory(done.stdout.strip(), track=False)
    assert bytes(segment.buf[:3]) == b"abc"
    segment.close()
    segment.unlink()
    assert done.stderr == ""
    with pytest.raises(FileNotFoundError):
        SharedMemory(segment.name, track=False)


def test_looking_at_a_segment_leaves_its_makers_tracking_alone():
    """The tracker complains on stderr when it is told to forget what it does not know."""
    script = """
        from fastmp.shared_memory import SharedMemory
        segment = SharedMemory(create=True, size=10)
        SharedMemory(segment.name, track=False).close()
        segment.close()
        segment.unlink()
    """
    command = [sys.executable, "-c", inspect.cleandoc(script)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr == ""


@pytest.mark.leaves("the copy is tracked, and the tracker stays")
def test_a_segment_pickles():
    import multiprocessing.shared_memory as standard

    segment = SharedMemory(create=True, size=10, track=False)
    assert isinstance(segment, standard.SharedMemory)
    same = pickle.loads(pickle.dumps(segment))
    assert type(same) is type(segment)
    same.buf[0] = 7
    assert segment.buf[0] == 7
    same.close()
    segment.close()
    same.unlink()
    gc.collect()
