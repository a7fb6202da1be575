"""24. Real futures; cancel pending yes, running no; `map` timeout is the builtin TimeoutError; "after shutdown"
RuntimeError; `run_in_executor` works.
"""

import asyncio
import concurrent.futures
import os
import threading
import time

from subject import SECONDS, ctx, eventually, executor, outcome, say


def square(x):
    return x * x


def fail(text):
    raise KeyError(text)


gate = None


def take_gate(event):
    global gate
    gate = event


def wait_at_gate():
    gate.wait(SECONDS)
    return "passed"


async def through_asyncio(pool):
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(*(loop.run_in_executor(pool, square, n) for n in range(10)))
    failed = await asyncio.gather(loop.run_in_executor(pool, fail, "text"), return_exceptions=True)
    return results, failed


def states(future):
    return future.done(), future.running(), future.cancelled()


def cancelling():
    event = ctx.Event()
    with executor(1, initializer=take_gate, initargs=(event,)) as pool:
        running = pool.submit(wait_at_gate)
        eventually(running.running)
        pending = [pool.submit(square, n) for n in range(5)]
        say("running:", running.cancel(), states(running))
        say("pending:", pending[-1].cancel(), states(pending[-1]), pending[-1].cancel())
        say("cancelled:", outcome(pending[-1].result), outcome(pending[-1].exception))
        say(
            "timeouts:",
            outcome(running.result, 0.01),
            outcome(running.exception, timeout=0),
            outcome(running.result, -1),
        )
        say("of map:", outcome(lambda: list(pool.map(square, range(3), timeout=0.05))))
        called = []
        pending[-1].add_done_callback(lambda future: called.append(future.cancelled()))
        event.set()
        say(running.result(SECONDS), states(running), running.cancel(), called)
        say([future.result(SECONDS) for future in pending[:2]])


def main():
    with executor(2) as pool:
        future = pool.submit(square, 7)
        say(isinstance(future, concurrent.futures.Future), isinstance(pool, concurrent.futures.Executor))
        say(future.result(SECONDS), future.exception(), states(future), repr(future).partition("state=")[2])
        failed = pool.submit(fail, "text")
        say(type(failed.exception(SECONDS)).__name__, outcome(failed.result), states(failed))
        say(
            list(pool.map(square, range(6), chunksize=2)),
            list(pool.map(pow, [2, 3], [3, 2])),
            list(pool.map(square, [])),
        )
        done, pending = concurrent.futures.wait([pool.submit(square, n) for n in range(4)], timeout=SECONDS)
        say(sorted(f.result() for f in done), pending)
        say(sorted(f.result() for f in concurrent.futures.as_completed([pool.submit(square, n) for n in range(4)])))
        called = threading.Event()
        pool.submit(square, 2).add_done_callback(lambda future: called.set())
        say("called back:", called.wait(SECONDS))
        say("asyncio:", *asyncio.run(through_asyncio(pool)))
        say("the same TimeoutError:", concurrent.futures.TimeoutError is TimeoutError)
    say("after shutdown:", outcome(pool.submit, square, 1), outcome(lambda: list(pool.map(square, [1]))))
    say(outcome(pool.shutdown), outcome(pool.shutdown, False), outcome(pool.shutdown, cancel_futures=True))
    cancelling()
    event = ctx.Event()
    pool = executor(1, initializer=take_gate, initargs=(event,))
    futures = [pool.submit(wait_at_gate) for _ in range(10)]
    eventually(futures[0].running)
    pool.shutdown(wait=False, cancel_futures=True)
    event.set()
    say("shutdown with cancel:", futures[0].result(SECONDS), eventually(futures[-1].cancelled))
    with executor(1) as pool:
        broken = pool.submit(os._exit, 1)
        say(outcome(broken.result, SECONDS).split("(")[0], outcome(pool.submit, square, 1).split("(")[0])
    say(outcome(executor, 0), outcome(executor, -1), outcome(executor, 1, initializer=5))
    say(outcome(executor, 1, max_tasks_per_child=0), outcome(executor, 1, max_tasks_per_child="1"))
    with executor(1) as pool:
        pool.submit(time.sleep, 0.05)
    say("with waits")


if __name__ == "__main__":
    main()
