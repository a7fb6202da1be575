"""Timeouts of zero, negative, huge, none and of wrong types, on every method that takes one, where the call could go on
at once and where it has to wait.
"""

import sys
import threading
import time
from fractions import Fraction

from attempts import attempt
from subject import SECONDS, ctx, executor, part, say

TIMEOUTS = {
    "0": 0,
    "-1": -1,
    "-0.5": -0.5,
    "0.001": 0.001,
    "True": True,
    "Fraction": Fraction(1, 1000),
    "None": None,
    "1e10": 1e10,
    "maxsize": sys.maxsize,
    "inf": float("inf"),
    "-inf": float("-inf"),
    "nan": float("nan"),
    "2**200": 2**200,
    "text": "1",
    "list": [],
    "complex": 1j,
}


def held(lock):
    """The lock, held by a thread that has ended."""
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    return lock


def filled(queue, *items):
    for item in items:
        queue.put(item)
    queue._reader.poll(SECONDS)
    return queue


def poll_reader(queue, timeout):
    return queue._reader.poll(timeout)


def connection(*messages):
    near, far = ctx.Pipe()
    for message in messages:
        far.send(message)
    near.far = far
    return near


def event_set():
    event = ctx.Event()
    event.set()
    return event


def in_condition(method, *args):
    def call(timeout):
        condition = ctx.Condition()
        with condition:
            return getattr(condition, method)(*args, timeout)

    return call


# Each makes an object of its own and calls it with the timeout.
CALLS = {
    "Lock.acquire": lambda t: ctx.Lock().acquire(True, t),
    "Lock.acquire, not blocking": lambda t: ctx.Lock().acquire(False, t),
    "Lock.acquire, held": lambda t: held(ctx.Lock()).acquire(True, t),
    "Lock.acquire, held, not blocking": lambda t: held(ctx.Lock()).acquire(False, t),
    "RLock.acquire": lambda t: ctx.RLock().acquire(timeout=t),
    "RLock.acquire, held": lambda t: held(ctx.RLock()).acquire(timeout=t),
    "Semaphore.acquire": lambda t: ctx.Semaphore(1).acquire(timeout=t),
    "Semaphore.acquire, 0": lambda t: ctx.Semaphore(0).acquire(timeout=t),
    "BoundedSemaphore.acquire, 0": lambda t: ctx.BoundedSemaphore(0).acquire(timeout=t),
    "Condition.acquire": lambda t: ctx.Condition().acquire(True, t),
    "Condition.acquire, held": lambda t: ctx.Condition(held(ctx.Lock())).acquire(True, t),
    "Condition.wait": in_condition("wait"),
    "Condition.wait_for, true": in_condition("wait_for", lambda: 5),
    "Condition.wait_for, false": in_condition("wait_for", lambda: 0),
    "Event.wait, set": lambda t: event_set().wait(t),
    "Event.wait, not set": lambda t: ctx.Event().wait(t),
    "Barrier.wait, all there": lambda t: ctx.Barrier(1).wait(t),
    "Barrier.wait": lambda t: ctx.Barrier(2).wait(t),
    "Barrier(timeout)": lambda t: ctx.Barrier(2, timeout=t).wait(),
    "Queue.get, an item": lambda t: filled(ctx.Queue(), 5).get(True, t),
    "Queue.get, an item, not blocking": lambda t: filled(ctx.Queue(), 5).get(False, t),
    "Queue.get, empty": lambda t: ctx.Queue().get(True, t),
    "Queue.get, empty, not blocking": lambda t: ctx.Queue().get(False, t),
    "Queue.put": lambda t: ctx.Queue().put(1, True, t),
    "Queue.put, full": lambda t: filled(ctx.Queue(1), 1).put(1, True, t),
    "Queue.put, full, not blocking": lambda t: filled(ctx.Queue(1), 1).put(1, False, t),
    "JoinableQueue.get, empty": lambda t: ctx.JoinableQueue().get(timeout=t),
    "JoinableQueue.put, full": lambda t: filled(ctx.JoinableQueue(1), 1).put(1, timeout=t),
    "Queue._reader.poll": lambda t: poll_reader(ctx.Queue(), t),
    "Queue._reader.poll, an item": lambda t: poll_reader(filled(ctx.Queue(), 1), t),
    "Connection.poll, a message": lambda t: connection(1).poll(t),
    "Connection.poll": lambda t: connection().poll(t),
    "wait, nothing": lambda t: part("connection").wait([], t),
    "wait, a message": lambda t: len(part("connection").wait([connection(1)], t)),
    "wait": lambda t: len(part("connection").wait([connection()], t)),
}


def with_processes(process, ended, pool, futures):
    ready, waiting = pool.apply_async(abs, (-1,)), pool.apply_async(time.sleep, (SECONDS,))
    ready.wait()
    done, running = futures.submit(abs, -1), futures.submit(time.sleep, SECONDS)
    done.result()
    return {
        "Process.join": process.join,
        "Process.join, ended": ended.join,
        "AsyncResult.get, ready": ready.get,
        "AsyncResult.get": waiting.get,
        "AsyncResult.wait, ready": ready.wait,
        "AsyncResult.wait": waiting.wait,
        "imap.next, ended": lambda t: exhausted(pool).next(t),
        "imap.next": lambda t: pool.imap(time.sleep, [SECONDS]).next(t),
        "Future.result, done": done.result,
        "Future.exception, done": done.exception,
        "Future.result": running.result,
        "Future.exception": running.exception,
    }


def exhausted(pool):
    stream = pool.imap(abs, [])
    for _ in stream:
        pass
    return stream


def try_all(calls):
    for name, call in calls.items():
        for label, timeout in TIMEOUTS.items():
            attempt(f"{name}({label})", call, timeout)


def main():
    try_all(CALLS)
    process, ended = ctx.Process(target=time.sleep, args=(SECONDS,)), ctx.Process(target=abs, args=(1,))
    process.start()
    ended.start()
    ended.join()
    with ctx.Pool(3) as pool, executor(1) as futures:
        try_all(with_processes(process, ended, pool, futures))
        for running in futures._processes.values():
            running.kill()
    process.kill()
    process.join()
    say("tried all")


if __name__ == "__main__":
    main()
