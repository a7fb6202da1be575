"""Shared objects of every kind: how to make one, and whether what has arrived is that one."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_sharer

import fastmp
from fastmp import _core

fork = fastmp.get_context("fork")


def lock():
    thing = fork.Lock()
    thing.acquire()
    return thing


def is_lock(thing):
    return not thing.acquire(False)


def rlock():
    return fork.RLock()


def is_rlock(thing):
    with thing, thing:
        return True


def semaphore():
    return fork.Semaphore(5)


def is_semaphore(thing):
    return thing.get_value() == 5


def bounded_semaphore():
    return fork.BoundedSemaphore(3)


def is_bounded_semaphore(thing):
    try:
        thing.release()
    except ValueError:
        return thing.get_value() == 3
    return False


def condition():
    return fork.Condition()


def is_condition(thing):
    with thing:
        thing.notify_all()
        return True


def event():
    thing = fork.Event()
    thing.set()
    return thing


def is_event(thing):
    return thing.is_set()


def barrier():
    return fork.Barrier(1)


def is_barrier(thing):
    return thing.parties == 1 and thing.wait(10) == 0


def queue():
    thing = fork.Queue()
    thing.put("within")
    return thing


def is_queue(thing):
    found = thing.get(timeout=30)
    thing.put(found)  # for the next who looks
    return found == "within"


def simple_queue():
    thing = fork.SimpleQueue()
    thing.put("within")
    return thing


def is_simple_queue(thing):
    found = thing.get()
    thing.put(found)
    return found == "within"


def joinable_queue():
    thing = fork.JoinableQueue(3)
    thing.put("within")
    return thing


def is_joinable_queue(thing):
    found = thing.get(timeout=30)
    thing.task_done()
    thing.put(found)
    return found == "within"


def value():
    return fork.Value("i", 42)


def is_value(thing):
    with thing.get_lock():
        return thing.value == 42


def array():
    return fork.Array("d", [1.5, 2.5])


def is_array(thing):
    with thing:
        return thing[:] == [1.5, 2.5]


def raw_array():
    return fork.RawArray("i", [3, 4, 5])


def is_raw_array(thing):
    return list(thing) == [3, 4, 5]


def raw_value():
    return fork.RawValue("h", -7)


def is_raw_value(thing):
    return thing.value == -7


def shared_dict():
    return fastmp.shared_dict(key=[1, 2])


def is_shared_dict(thing):
    return thing["key"] == [1, 2]


THINGS = {
    "lock": (lock, is_lock),
    "rlock": (rlock, is_rlock),
    "semaphore": (semaphore, is_semaphore),
    "bounded_semaphore": (bounded_semaphore, is_bounded_semaphore),
    "condition": (condition, is_condition),
    "event": (event, is_event),
    "barrier": (barrier, is_barrier),
    "queue": (queue, is_queue),
    "simple_queue": (simple_queue, is_simple_queue),
    "joinable_queue": (joinable_queue, is_joinable_queue),
    "value": (value, is_value),
    "array": (array, is_array),
    "raw_array": (raw_array, is_raw_array),
    "raw_value": (raw_value, is_raw_value),
    "shared_dict": (shared_dict, is_shared_dict),
}


def blocks():
    """How many blocks of shared memory somebody holds."""
    gc.collect()
    stats = _core.heap_stats()
    return {phase: stats[phase] for phase in ("owned", "transit", "shared")}


@contextmanager
def nothing_stays() -> Iterator[None]:
    """What is made in the block is gone at its end."""
    before = blocks()
    yield
    resource_sharer.stop()  # its thread gives out the descriptors of queues and pipes
    after = blocks()
    assert all(after[phase] <= before[phase] for phase in before)  # what an earlier test has left may go meanwhile
