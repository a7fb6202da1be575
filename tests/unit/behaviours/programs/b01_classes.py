"""1. `queue.Empty`/`Full`, `TimeoutError`, `BrokenProcessPool` are the same classes; processes are `BaseProcess`."""

import multiprocessing
import os
import queue
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess

from subject import ctx, executor, mp, part, say


def kind_of_current():
    say("in the child:", isinstance(mp.current_process(), BaseProcess))


def raised(call, *args):
    try:
        call(*args)
    except BaseException as error:
        return type(error)
    return None


def main():
    bounded = ctx.Queue(1)
    say("Empty:", raised(bounded.get_nowait) is queue.Empty is part("queues").Empty)
    say("Empty after a timeout:", raised(bounded.get, True, 0.01) is queue.Empty)
    bounded.put(1)
    say("Full:", raised(bounded.put_nowait, 2) is queue.Full is part("queues").Full)
    say("Full after a timeout:", raised(bounded.put, 2, True, 0.01) is queue.Full)
    say(bounded.get())
    say("TimeoutError:", mp.TimeoutError is multiprocessing.TimeoutError, mp.TimeoutError.__mro__)
    for name in ("ProcessError", "BufferTooShort", "AuthenticationError"):
        say(name, getattr(mp, name) is getattr(multiprocessing, name))
    with ctx.Pool(1) as pool:
        say("Pool's:", raised(pool.apply_async(time.sleep, (30,)).get, 0.01) is multiprocessing.TimeoutError)
        say("imap's:", raised(pool.imap(time.sleep, [30]).next, 0.01) is multiprocessing.TimeoutError)
        say("workers:", isinstance(pool._pool[0], BaseProcess))
    with executor(1) as broken:
        say("BrokenProcessPool:", raised(broken.submit(os._exit, 3).result) is BrokenProcessPool)
    process = ctx.Process(target=kind_of_current)
    say("a process:", isinstance(process, BaseProcess), isinstance(process, multiprocessing.process.BaseProcess))
    process.start()
    process.join()
    say("Process():", isinstance(mp.Process(), BaseProcess), isinstance(mp.current_process(), BaseProcess))
    say("among the children:", all(isinstance(child, BaseProcess) for child in mp.active_children()))


if __name__ == "__main__":
    main()
