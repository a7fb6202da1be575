"""Objects that were closed, terminated, shut down or have ended: every public method of each of them.

What no method changes any more is made once.
"""

import functools
import os
import time

from attempts import attempt
from subject import MODULE, SECONDS, ctx, executor, part, say

ARGUMENTS = {
    "put": (1,),
    "put_nowait": (1,),
    "send": (1,),
    "send_bytes": (b"x",),
    "recv_bytes_into": (bytearray(9),),
    "get": (True, 0.02),
    "SimpleQueue.get": (),
    "wait": (0.02,),
    "apply": (abs, (1,)),
    "apply_async": (abs, (1,)),
    "map": (abs, [1]),
    "map_async": (abs, [1]),
    "starmap": (pow, [(1, 2)]),
    "starmap_async": (pow, [(1, 2)]),
    "imap": (abs, [1]),
    "imap_unordered": (abs, [1]),
    "submit": (abs, 1),
    "Process": (ctx,),
    "add_done_callback": (abs,),
    "set_result": (1,),
    "set_exception": (ValueError(),),
    "result": (0.02,),
    "exception": (0.02,),
    "next": (0.02,),
}
METHODS = {
    "Queue": "cancel_join_thread close empty full get get_nowait join_thread put put_nowait qsize",
    "JoinableQueue": "cancel_join_thread close empty full get get_nowait join join_thread put put_nowait qsize "
    "task_done",
    "SimpleQueue": "close empty get put",
    "Connection": "close poll recv recv_bytes recv_bytes_into send send_bytes",
    "Pool": "Process apply apply_async close imap imap_unordered join map map_async starmap starmap_async terminate",
    "Executor": "map shutdown submit",
    "Process": "close is_alive join kill run start terminate",
    "Listener": "accept close",
    "Future": "add_done_callback cancel cancelled done exception result running set_exception set_result "
    "set_running_or_notify_cancel",
    "ApplyResult": "get ready successful wait",
    "IMapIterator": "next",
}


def closed_queue(make, *items):
    def build():
        queue = make()
        for item in items:
            queue.put(item)
            queue.get()
        queue.close()
        if hasattr(queue, "join_thread"):
            queue.join_thread()
        return queue

    return build


def closed_connection():
    near, far = ctx.Pipe()
    near.far = far
    near.close()
    return near


def lonely_connection():
    near, far = ctx.Pipe()
    far.close()
    return near


def closed_pool():
    pool = ctx.Pool(1)
    pool.close()
    return pool


@functools.cache
def finished_pool():
    pool = closed_pool()
    pool.join()
    return pool


@functools.cache
def terminated_pool():
    pool = ctx.Pool(1)
    pool.terminate()
    return pool


def shut_down_executor():
    pool = executor(1)
    pool.submit(abs, 1).result()
    pool.shutdown()
    return pool


def unused_executor():
    pool = executor(1)
    pool.shutdown()
    return pool


def broken_executor():
    pool = executor(1)
    pool.submit(os._exit, 5).exception()
    return pool


def ended_process():
    process = ctx.Process(target=abs, args=(1,))
    process.start()
    process.join()
    return process


@functools.cache
def closed_process():
    process = ended_process()
    process.close()
    return process


def closed_listener():
    listener = part("connection").Listener()
    listener.close()
    return listener


@functools.cache
def done_future():
    with executor(1) as pool:
        return pool.submit(abs, 1)


@functools.cache
def failed_future():
    with executor(1) as pool:
        return pool.submit(abs, "text")


@functools.cache
def result_of_terminated_pool():
    with ctx.Pool(1) as pool:
        return pool.apply_async(time.sleep, (SECONDS,))


@functools.cache
def result_of_finished_pool():
    with ctx.Pool(1) as pool:
        result = pool.apply_async(abs, (1,))
        pool.close()
        pool.join()
    return result


@functools.cache
def stream_of_terminated_pool():
    with ctx.Pool(1) as pool:
        return pool.imap(time.sleep, [SECONDS])


SUBJECTS = {
    "closed Queue": ("Queue", closed_queue(ctx.Queue, 1)),
    "closed JoinableQueue": ("JoinableQueue", closed_queue(ctx.JoinableQueue, 1)),
    "closed SimpleQueue": ("SimpleQueue", closed_queue(ctx.SimpleQueue, 1)),
    "closed Connection": ("Connection", closed_connection),
    "Connection whose peer is closed": ("Connection", lonely_connection),
    "closed Pool": ("Pool", closed_pool),
    "finished Pool": ("Pool", finished_pool),
    "terminated Pool": ("Pool", terminated_pool),
    "shut down executor": ("Executor", shut_down_executor),
    "unused executor that was shut down": ("Executor", unused_executor),
    "broken executor": ("Executor", broken_executor),
    "ended Process": ("Process", ended_process),
    "closed Process": ("Process", closed_process),
    "closed Listener": ("Listener", closed_listener),
    "done Future": ("Future", done_future),
    "failed Future": ("Future", failed_future),
    "result of a terminated Pool": ("ApplyResult", result_of_terminated_pool),
    "result of a finished Pool": ("ApplyResult", result_of_finished_pool),
    "stream of a terminated Pool": ("IMapIterator", stream_of_terminated_pool),
}


def public_methods(thing):
    return sorted(n for n in dir(thing) if not n.startswith("_") and callable(getattr(type(thing), n, None)))


def check_names(kind, thing):
    """The list above is complete: it has every public method of the standard library's class."""
    if MODULE == "multiprocessing" and type(thing).__module__.startswith(("multiprocessing", "concurrent")):
        missing = set(public_methods(thing)) - {*METHODS[kind].split(), "fileno"}
        assert not missing, (kind, missing)


def main():
    for label, (kind, make) in SUBJECTS.items():
        check_names(kind, make())
        for method in METHODS[kind].split():
            attempt(
                f"{label}: {method}",
                getattr(make(), method),
                *ARGUMENTS.get(f"{kind}.{method}", ARGUMENTS.get(method, ())),
            )
    say("tried all")


if __name__ == "__main__":
    main()
