"""Arguments of wrong types and values: each place of each public constructor and method, one after the other."""

import threading

from attempts import attempt
from subject import ctx, executor, part

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


def with_pool(pool):
    return {
        "Pool": (lambda: make_pool, "__call__", (1, None, (), None)),
        "Pool.apply": (lambda: pool, "apply", (abs, (1,), {})),
        "Pool.apply_async": (lambda: pool, "apply_async", (abs, (1,), {}, None, None)),
        "Pool.map": (lambda: pool, "map", (abs, [1], 1)),
        "Pool.map of many": (lambda: pool, "map", (abs, range(100), 3)),
        "Pool.starmap": (lambda: pool, "starmap", (pow, [(1, 2)], 1)),
        "Pool.imap": (lambda: pool, "imap", (abs, [1], 1)),
        "Pool.imap, all": (lambda: all_of_imap(pool), "__call__", (abs, [1], 1)),
        "Pool.imap_unordered, all": (lambda: all_of_unordered(pool), "__call__", (abs, [1], 1)),
    }


def make_pool(*args):
    with ctx.Pool(*args) as pool:
        return pool.map(abs, [-1])


def all_of_imap(pool):
    return lambda *args: list(pool.imap(*args))


def all_of_unordered(pool):
    return lambda *args: list(pool.imap_unordered(*args))


def result_of_submit(pool):
    return lambda *args: pool.submit(*args).result()


def all_of_map(pool):
    return lambda function, items, timeout, chunksize: list(
        pool.map(function, items, timeout=timeout, chunksize=chunksize)
    )


def make_executor(workers, initializer, initargs, max_tasks):
    with executor(workers, initializer=initializer, initargs=initargs, max_tasks_per_child=max_tasks):
        return "an executor"


def with_executor(pool):
    return {
        "ProcessPoolExecutor": (lambda: make_executor, "__call__", (1, None, (), None)),
        "submit": (lambda: result_of_submit(pool), "__call__", (abs, -1)),
        "map": (lambda: all_of_map(pool), "__call__", (abs, [-1], 30, 1)),
        "shutdown": (lambda: executor(1), "shutdown", (True,)),
        "add_done_callback": (lambda: pool.submit(abs, 1), "add_done_callback", (abs,)),
    }


def try_all(subjects):
    for name, (make, method, args) in subjects.items():
        for place in range(len(args)):
            for label, wrong in WRONG.items():
                changed = [*args[:place], wrong, *args[place + 1 :]]
                attempt(f"{name}, argument {place}: {label}", getattr(make(), method), *changed)
        attempt(f"{name}, one too many", getattr(make(), method), *args, None, *[None] * (5 - len(args)))
        attempt(f"{name}, unknown keyword", getattr(make(), method), *args, unknown=1)
        if args:
            attempt(f"{name}, none at all", getattr(make(), method))


def main():
    threading.excepthook = lambda args: None  # callbacks that cannot be called
    try_all(SUBJECTS)
    with ctx.Pool(1) as pool:
        try_all(with_pool(pool))
    with executor(1) as pool:
        try_all(with_executor(pool))


if __name__ == "__main__":
    main()
