"""Arguments of wrong types and values: each place of each public constructor and method, one after the other."""

import faulthandler
import os
import select
import signal
import threading

from attempts import attempt
from subject import SECONDS, ctx, executor, part, say

WRONG = {
    "None": None,
    "text": "text",
    "-1": -1,
    "0": 0,
    "2**70": 2**70,
    "1.5": 1.5,
    "object": object(),
    "list": [],
    "bytes": b"bytes",
    "function": abs,
    "class": int,
}


def filled():
    queue = ctx.JoinableQueue()
    queue.put(1)
    queue._reader.poll(SECONDS)
    return queue


def held_condition():
    condition = ctx.Condition()
    condition.acquire()
    return condition


def open_pipe():
    near, far = ctx.Pipe()
    near.far = far
    far.send_bytes(b"a message")
    return near


# name: how to make the object, the method, its arguments as they should be.
SUBJECTS = {
    "Lock": (lambda: ctx.Lock, "__call__", ()),
    "RLock": (lambda: ctx.RLock, "__call__", ()),
    "Event": (lambda: ctx.Event, "__call__", ()),
    "SimpleQueue": (lambda: ctx.SimpleQueue, "__call__", ()),
    "Semaphore": (lambda: ctx.Semaphore, "__call__", (1,)),
    "BoundedSemaphore": (lambda: ctx.BoundedSemaphore, "__call__", (1,)),
    "Condition": (lambda: ctx.Condition, "__call__", (ctx.Lock(),)),
    "Barrier": (lambda: ctx.Barrier, "__call__", (2, None, 1)),
    "Queue": (lambda: ctx.Queue, "__call__", (1,)),
    "JoinableQueue": (lambda: ctx.JoinableQueue, "__call__", (1,)),
    "Value": (lambda: ctx.Value, "__call__", ("i", 1)),
    "RawValue": (lambda: ctx.RawValue, "__call__", ("i", 1)),
    "Array": (lambda: ctx.Array, "__call__", ("i", 1)),
    "RawArray": (lambda: ctx.RawArray, "__call__", ("i", 1)),
    "Value of c": (lambda: ctx.Value, "__call__", ("c", b"x")),
    "Pipe": (lambda: ctx.Pipe, "__call__", (True,)),
    "Process": (lambda: ctx.Process, "__call__", (None, abs, "name", (1,), {})),
    "Lock.acquire": (ctx.Lock, "acquire", (True, 1)),
    "Lock.release": (lambda: held(ctx.Lock()), "release", ()),
    "RLock.acquire": (ctx.RLock, "acquire", (True, 1)),
    "RLock.release": (lambda: held(ctx.RLock()), "release", ()),
    "Semaphore.release": (ctx.Semaphore, "release", ()),
    "Condition.notify": (held_condition, "notify", (1,)),
    "Condition.notify_all": (held_condition, "notify_all", ()),
    "Condition.wait_for": (held_condition, "wait_for", (lambda: True, 0.001)),
    "Event.set": (ctx.Event, "set", ()),
    "Queue.put": (ctx.Queue, "put", (1, True, 1)),
    "Queue.get": (filled, "get", (True, 1)),
    "Queue.put_nowait": (ctx.Queue, "put_nowait", (1,)),
    "Queue.get_nowait": (filled, "get_nowait", ()),
    "Queue.qsize": (ctx.Queue, "qsize", ()),
    "Queue.close": (ctx.Queue, "close", ()),
    "JoinableQueue.task_done": (filled, "task_done", ()),
    "SimpleQueue.put": (ctx.SimpleQueue, "put", (1,)),
    "SimpleQueue.empty": (ctx.SimpleQueue, "empty", ()),
    "Connection.poll": (open_pipe, "poll", (0,)),
    "Connection.send": (open_pipe, "send", (1,)),
    "Connection.send_bytes": (open_pipe, "send_bytes", (b"abc", 0, 3)),
    "Connection.recv_bytes": (open_pipe, "recv_bytes", (100,)),
    "Connection.recv_bytes_into": (open_pipe, "recv_bytes_into", (bytearray(100), 0)),
    "Connection.close": (open_pipe, "close", ()),
    "Connection": (lambda: part("connection").Connection, "__call__", (1000,)),
    "wait": (lambda: part("connection").wait, "__call__", ([], 0)),
    "Process.join": (lambda: ctx.Process(), "join", (0,)),
    "Array.__getitem__": (lambda: ctx.Array("i", 3), "__getitem__", (0,)),
    "Array.__setitem__": (lambda: ctx.Array("i", 3), "__setitem__", (0, 1)),
    "Array.__setitem__ of d": (lambda: ctx.Array("d", 3), "__setitem__", (0, 1)),
    "get_context": (lambda: ctx.get_context, "__call__", ("fork",)),
}


def held(lock):
    lock.acquire()
    return lock


def new_pool():
    return ctx.Pool(1)


def new_executor():
    return executor(1)


def make_pool(*args):
    return ctx.Pool(*args).map(abs, [-1])


def make_executor(workers, initializer, initargs, max_tasks):
    return executor(workers, initializer=initializer, initargs=initargs, max_tasks_per_child=max_tasks) and "made"


def all_of(method):
    def make():
        pool = new_pool()
        return lambda *args: list(getattr(pool, method)(*args))

    return make


def get_of(method):
    def make():
        pool = new_pool()
        return lambda *args: getattr(pool, method)(*args).get()

    return make


def executor_map(function, items, timeout, chunksize):
    return list(new_executor().map(function, items, timeout=timeout, chunksize=chunksize))


SUBJECTS_WITH_PROCESSES = {
    "Pool": (lambda: make_pool, "__call__", (1, None, (), None)),
    "Pool.apply": (new_pool, "apply", (abs, (1,), {})),
    "Pool.apply_async": (get_of("apply_async"), "__call__", (abs, (1,), {}, None, None)),
    "Pool.map": (new_pool, "map", (abs, [1], 1)),
    "Pool.starmap": (new_pool, "starmap", (pow, [(1, 2)], 1)),
    "Pool.imap": (all_of("imap"), "__call__", (abs, [1], 1)),
    "ProcessPoolExecutor": (lambda: make_executor, "__call__", (1, None, (), None)),
    "submit": (lambda: lambda *args: new_executor().submit(*args).result(), "__call__", (abs, -1)),
    "executor.map": (lambda: executor_map, "__call__", (abs, [-1], 30, 1)),
    "shutdown": (new_executor, "shutdown", (True,)),
    "add_done_callback": (lambda: new_executor().submit(abs, 1), "add_done_callback", (abs,)),
}


FEW = {label: WRONG[label] for label in ("None", "text", "-1", "2**70", "object")}


def variants_of(name, args, values):
    for place in range(len(args)):
        for label, wrong in values.items():
            yield f"{name}, argument {place}: {label}", [*args[:place], wrong, *args[place + 1 :]], {}
    yield f"{name}, too many", [*args, *[None] * (6 - len(args))], {}
    yield f"{name}, unknown keyword", args, {"unknown": 1}


def try_all(subjects, values, run):
    for name, (make, method, args) in subjects.items():
        for label, changed, options in variants_of(name, args, values):
            run(label, lambda: attempt(label, getattr(make(), method), *changed, **options))  # noqa: B023 - called at once


def call(_label, function):
    function()


def call_apart(label, function):
    """In a process of its own, which is killed with all that it has started: a broken pool may never end."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            function()
        finally:
            os.killpg(0, signal.SIGKILL)
    if not select.select([descriptor := os.pidfd_open(pid)], [], [], SECONDS)[0]:
        say(label, "->", "hangs")  # and cannot be interrupted
        os.kill(pid, signal.SIGABRT)  # it tells where
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.killpg(pid, signal.SIGKILL)
    os.close(descriptor)
    os.waitpid(pid, 0)


def main():
    faulthandler.enable()
    threading.excepthook = lambda args: None  # callbacks that cannot be called
    try_all(SUBJECTS, WRONG, call)
    part("pool")
    executor(1)  # all modules are there
    try_all(SUBJECTS_WITH_PROCESSES, FEW, call_apart)
    say("tried all")


if __name__ == "__main__":
    main()
