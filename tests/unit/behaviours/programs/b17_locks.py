"""17. `Lock` is a semaphore: any process may release; over-release is a ValueError; a non-owner's RLock release an
AssertionError.
"""

import threading

from subject import ctx, outcome, run, say


def release(lock):
    say("another process releases:", outcome(lock.release))


def release_all(lock, rlock, semaphore, bounded):
    for each in (lock, rlock, semaphore, bounded):
        say(type(each).__name__, outcome(each.release))
    say(outcome(rlock.acquire, False), outcome(rlock.acquire, timeout=0.01))


def in_thread(call, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(outcome(call, *args)))
    thread.start()
    thread.join()
    return results[0]


def main():
    lock = ctx.Lock()
    say("over-release:", outcome(lock.release))
    say(lock.acquire(), lock.acquire(False), lock.acquire(timeout=0.01), lock.acquire(True, 0))
    run(release, lock)
    say("so it is free:", lock.acquire(False), in_thread(lock.release), outcome(lock.release))
    rlock = ctx.RLock()
    say("RLock, not held:", outcome(rlock.release))
    say(rlock.acquire(), rlock.acquire(), in_thread(rlock.release), in_thread(rlock.acquire, False))
    run(release, rlock)
    say(outcome(rlock.release), outcome(rlock.release), outcome(rlock.release))
    semaphore, bounded = ctx.Semaphore(1), ctx.BoundedSemaphore(1)
    semaphore.release()
    say(semaphore.get_value(), outcome(bounded.release), bounded.get_value())
    rlock.acquire()
    lock.acquire()
    bounded.acquire()
    run(release_all, lock, rlock, semaphore, bounded)
    say(lock.acquire(False), rlock.acquire(False), semaphore.get_value(), bounded.get_value())
    say(lock, rlock, semaphore, bounded)
    lock.release()
    with lock as held:
        say("with:", held, lock.acquire(False))
    with semaphore as held:
        say("with:", held, semaphore.get_value())
    say(outcome(ctx.Semaphore, -1), ctx.Semaphore(0).get_value(), outcome(ctx.Semaphore, "1"))


if __name__ == "__main__":
    main()
