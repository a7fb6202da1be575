"""What children of every start method run: importable there, and with nothing of pytest."""

import multiprocessing
import os
import sys
from typing import Any

import fastmp


def tell_about_me(sender: Any) -> None:
    """Send what a child knows about itself and its parent."""
    me, parent = fastmp.current_process(), fastmp.parent_process()
    assert parent is not None
    about: dict[str, object] = {
        "name": me.name,
        "daemon": me.daemon,
        "authkey": bytes(me.authkey),
        "parent": parent.pid,
        "parent_name": parent.name,
        "parent_lives": parent.is_alive(),
        "methods": [fastmp.get_start_method(), multiprocessing.get_start_method()],
        "argv": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "cwd": os.getcwd(),
        "main": sys.modules["__main__"].__name__,
    }
    sender.send(about)


def use_everything(objects: dict[str, Any]) -> None:
    """Take the parent's part in a game with one object of each kind."""
    for kind in ("Queue", "JoinableQueue", "SimpleQueue"):
        queue = objects[kind]
        queue.put(queue.get() + 1)
    assert not objects["Lock"].acquire(block=False)
    objects["Lock"].release()
    with objects["RLock"], objects["Value"].get_lock(), objects["Array"].get_lock():
        objects["Value"].value += 1
        objects["Array"][1] += 1
    assert objects["Semaphore"].acquire(block=False)
    objects["BoundedSemaphore"].release()
    objects["Event"].set()
    objects["Connection"].send(objects["Connection"].recv() + 1)
    objects["Barrier"].wait(30)
    with objects["Condition"]:
        objects["Condition"].notify()


def write_into(segment: Any) -> None:
    """Leave something in a shared memory segment."""
    segment.buf[:3] = b"abc"
    segment.close()


def append_for_ever(shared: Any) -> None:
    """Be somebody in the middle of a call, whenever he is killed."""
    while True:
        shared.append(0)


def serve(inqueue: Any, outqueue: Any) -> None:
    """A worker of one's own, as it is written for the standard library's queues."""
    inqueue._writer.close()
    outqueue._reader.close()
    while (task := inqueue.get()) is not None:
        job, index, func, args, kwds = task
        outqueue.put((job, index, (True, ("own", func(*args, **kwds)))))
