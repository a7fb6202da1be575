"""Objects live as long as somebody has them, and no longer."""

import gc
import os
import signal
import textwrap
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support import lifetime
from support.processes import child, eventually
from support.programs import python

import fastmp
from fastmp import _core

CYCLES = 1500
MANY = 10_000


def test_memory_and_descriptors_are_flat() -> None:
    done = python(lifetime.__file__, str(CYCLES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("flat\n")


def test_many_live_queues_and_locks() -> None:
    """Whatever the limit of descriptors is: a queue can do without."""
    done = python(lifetime.__file__, "many", str(MANY))
    assert done.returncode == 0, done.stdout + done.stderr


def make_queue() -> Any:
    queue = fastmp.Queue()
    queue.put(1)
    return queue


def make_pipe() -> Any:
    reader, writer = fastmp.Pipe(duplex=False)
    writer.send(1)
    return reader, writer


def use_queue(queue: Any) -> bool:
    return bool(queue.get(timeout=30) == 1)


def use_pipe(ends: Any) -> bool:
    reader, writer = ends
    writer.send(2)
    return bool([reader.recv(), reader.recv()] == [1, 2])


def use_lock(lock: Any) -> bool:
    with lock:
        return True


def use_dict(shared: Any) -> bool:
    shared["b"] = 2
    return dict(shared) == {"a": 1, "b": 2}


def use_value(value: Any) -> bool:
    with value.get_lock():
        value.value += 1
    return bool(value.value == 2)


def use_condition(condition: Any) -> bool:
    with condition:
        condition.notify_all()
        return not condition.wait(0.001)


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], bool]]] = {
    "Queue": (make_queue, use_queue),
    "Pipe": (make_pipe, use_pipe),
    "Lock": (lambda: fastmp.Lock(), use_lock),
    "RLock": (lambda: fastmp.RLock(), use_lock),
    "Semaphore": (lambda: fastmp.Semaphore(), use_lock),
    "Condition": (lambda: fastmp.Condition(), use_condition),
    "Event": (lambda: fastmp.Event(), lambda event: event.set() is None and event.wait(0)),
    "Barrier": (lambda: fastmp.Barrier(1), lambda barrier: barrier.wait(30) == 0),
    "Value": (lambda: fastmp.Value("i", 1), use_value),
    "Array": (lambda: fastmp.Array("i", [1, 2]), lambda array: array[:] == [1, 2]),
    "shared_dict": (lambda: fastmp.shared_dict(a=1), use_dict),
}


def give(way: Any, kind: str, killed: bool) -> None:
    way.put(KINDS[kind][0]())
    gc.collect()
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("killed", [False, True], ids=["ends", "is killed"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Pipe"])
def test_the_creator_is_gone(kind: str, killed: bool) -> None:
    """It was sent, and only its receiver has it. (A pipe has a descriptor, which needs its sender alive.)"""
    way = fastmp.Queue()
    creator = fastmp.Process(target=give, args=(way, kind, killed))
    creator.start()
    creator.join()
    assert creator.exitcode == (-signal.SIGKILL if killed else 0)
    assert KINDS[kind][1](way.get(timeout=30))


@pytest.mark.parametrize("kind", KINDS)
def test_the_creator_drops_it_while_a_child_has_it(kind: str) -> None:
    make, use = KINDS[kind]
    go_on = fastmp.Event()

    def body(thing: Any) -> None:
        assert go_on.wait(30)
        assert use(thing)

    thing = make()
    with child(body, thing) as process:
        process._args = ()
        del thing, process
        gc.collect()
        go_on.set()


def bytes_in_use() -> int:
    gc.collect()
    return _core.heap_stats()["bytes_in_use"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_cycle_is_collected(kind: str) -> None:
    make = KINDS[kind][0]
    make()
    before = bytes_in_use()

    class Holder:
        pass

    holder = Holder()
    holder.me, holder.thing = holder, make()  # type: ignore[attr-defined]
    gone = weakref.ref(holder)
    del holder
    eventually(lambda: bytes_in_use() <= before)
    assert gone() is None


def test_a_process_ends_with_everything_alive_and_threads_that_wait() -> None:
    """Objects in globals, circles and threads; threads that wait in each kind of wait, daemonic ones for ever."""
    script = """
        import threading, fastmp
        queue, lock, event, ends = fastmp.Queue(), fastmp.Lock(), fastmp.Event(), fastmp.Pipe()
        condition, barrier, value = fastmp.Condition(), fastmp.Barrier(2), fastmp.Value("i")
        pool, executor = fastmp.Pool(1), fastmp.ProcessPoolExecutor(1)
        assert pool.apply(abs, (-1,)) + executor.submit(abs, -1).result() == 2
        lock.acquire()
        circle = [queue, lock, pool]
        circle.append(circle)
        begun = threading.Semaphore(0)

        def wait(what):
            begun.release()
            what()

        def wait_in_condition():
            with condition:
                condition.wait()

        waits = [queue.get, lock.acquire, event.wait, ends[0].recv, barrier.wait, wait_in_condition]
        for what in waits:
            threading.Thread(target=wait, args=(what,), daemon=True).start()
        for _ in waits:
            begun.acquire()
        with value.get_lock():
            print("the end")
    """
    for _ in range(2):
        done = python("-c", textwrap.dedent(script))
        assert done.stdout == "the end\n"
        assert done.returncode == 0, done.stderr
        assert "Fatal" not in done.stderr
