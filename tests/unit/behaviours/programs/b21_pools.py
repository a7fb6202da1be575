"""21. Pool: `with` terminates; join before close is a ValueError; a pool does not pickle; callbacks;
`imap().next(timeout)`; daemonic workers; `_pool` list.
"""

import os
import pickle
import threading
import time

from subject import SECONDS, ctx, mp, outcome, part, plain, say


def square(x):
    return x * x


def fail(x):
    raise ValueError("bad item", x)


def about_worker(_):
    me = mp.current_process()
    return me.daemon, "PoolWorker" in me.name, outcome(start_child)


def start_child():
    ctx.Process(target=len, args=("",)).start()


def initialize(text):
    global greeting
    greeting = text


def greet(_):
    return greeting


def callbacks(pool):
    got, count = [], threading.Semaphore(0)

    def note(kind):
        return lambda value: (got.append((kind, str(value), threading.current_thread() is main)), count.release())

    main = threading.current_thread()
    pool.apply_async(square, (3,), callback=note("result"), error_callback=note("error"))
    count.acquire(timeout=SECONDS)
    pool.apply_async(fail, (3,), callback=note("result"), error_callback=note("error"))
    count.acquire(timeout=SECONDS)
    pool.map_async(square, range(4), callback=note("map"))
    count.acquire(timeout=SECONDS)
    pool.starmap_async(pow, [(2, 3), (2, -1)], error_callback=note("never"), callback=note("starmap"))
    count.acquire(timeout=SECONDS)
    pool.map_async(fail, range(4), error_callback=note("map error"), chunksize=4)
    count.acquire(timeout=SECONDS)
    say("callbacks:", got)


def main():
    with ctx.Pool(2) as pool:
        say(
            len(pool._pool), [process.daemon for process in pool._pool], pool._processes, pool.apply(about_worker, (0,))
        )
        say("of a worker:", pool.apply(os.getpid) in [process.pid for process in pool._pool])
        say("join before close:", outcome(pool.join))
        say("pickle:", outcome(pickle.dumps, pool))
        callbacks(pool)
        stream = pool.imap(square, [5])
        say("imap:", stream.next(timeout=SECONDS), outcome(stream.next), outcome(stream.next, 0.01))
        say("too early:", outcome(pool.imap(time.sleep, [SECONDS]).next, timeout=0.01))
        say("iterators:", iter(stream) is stream, sorted(pool.imap_unordered(square, range(5), 2)))
        slow = pool.apply_async(time.sleep, (SECONDS,))
        say("not ready:", slow.ready(), outcome(slow.successful), outcome(slow.get, 0.01), slow.wait(0.01))
        say(plain(repr(pool)).replace("multiprocessing.", ""))
        workers = list(pool._pool)
    eventual = [process.join(SECONDS) for process in workers]
    say("with terminates:", eventual, [process.exitcode for process in workers], [p.is_alive() for p in workers])
    for call in (lambda: pool.apply(square, (1,)), lambda: pool.map(square, [1]), lambda: pool.imap(square, [1])):
        say("terminated:", outcome(call))
    say("entered again:", outcome(pool.__enter__))
    say(outcome(pool.join), outcome(pool.close), outcome(pool.terminate), outcome(pool.join))
    with ctx.Pool(1, initialize, ("hello",)) as pool:
        say("initializer:", pool.map(greet, range(2)))
        result = pool.map_async(square, range(100))
        pool.close()
        say("closed:", outcome(pool.apply, square, (1,)), outcome(pool.apply_async, square, (1,)))
        pool.join()
        say("what was begun is finished:", result.ready(), result.successful(), sum(result.get()))
    say(part("pool").ThreadPool(2).map(square, range(3)), type(ctx.Pool(1)).__name__, part("pool").Pool is type(pool))
    say(outcome(ctx.Pool, 0), outcome(ctx.Pool, 1, 5), outcome(ctx.Pool, 1, maxtasksperchild=0))


if __name__ == "__main__":
    main()
