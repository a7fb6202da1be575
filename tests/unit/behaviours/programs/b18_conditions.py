"""18. `Condition.wait` returns a bool; notify unlocked is an error; `BrokenBarrierError` is threading's."""

import threading
import time
from functools import partial

from subject import SECONDS, ctx, eventually, outcome, run, say


def wait_for_news(condition, waiting):
    with condition:
        waiting.release()
        say("notified:", condition.wait(SECONDS))


def wait_for_value(condition, value, waiting):
    with condition:
        waiting.release()
        say("wait_for:", condition.wait_for(lambda: value.value > 2, SECONDS))


def notify_elsewhere(condition):
    say("not held:", outcome(condition.notify), outcome(condition.notify_all), outcome(condition.wait, 0.01))


def notify_one_and_all(condition):
    waiting = ctx.Semaphore(0)
    waiters = [ctx.Process(target=wait_for_news, args=(condition, waiting)) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
        waiting.acquire()
    with condition:  # free only when all wait
        condition.notify()
    eventually(lambda: sum(waiter.exitcode == 0 for waiter in waiters) == 1)
    with condition:
        condition.notify_all()
    for waiter in waiters:
        waiter.join()
    say([waiter.exitcode for waiter in waiters])


def meet(barrier):
    try:
        barrier.wait(0.01)
    except threading.BrokenBarrierError:
        say("broken:", barrier.broken)
    say("and stays so:", outcome(barrier.wait), barrier.n_waiting, barrier.parties)


def main():
    condition = ctx.Condition()
    with condition:
        say("a timeout:", condition.wait(0.01), condition.wait(0), condition.wait_for(lambda: 0, 0.01))
        say("true at once:", condition.wait_for(lambda: "yes"), condition.wait_for(lambda: 5, 0))
        say(outcome(condition.notify), outcome(condition.notify_all), outcome(condition.notify, 3))
    notify_elsewhere(condition)
    with condition:
        run(notify_elsewhere, condition)
    notify_one_and_all(condition)
    value, waiting = ctx.Value("i", 0), ctx.Semaphore(0)
    waiter = ctx.Process(target=wait_for_value, args=(condition, value, waiting))
    waiter.start()
    waiting.acquire()
    for number in (1, 2, 3):
        with condition:
            value.value = number
            condition.notify_all()
        time.sleep(0.01)
    waiter.join()
    for lock in (ctx.Lock(), ctx.RLock()):
        with ctx.Condition(lock) as held:
            say("on a lock:", held, outcome(lock.acquire, False))
    say(outcome(ctx.Condition(ctx.Lock()).release), outcome(ctx.Condition().release))
    barrier = ctx.Barrier(2)
    run(meet, barrier)
    say("here too:", outcome(barrier.wait), barrier.broken)
    barrier.reset()
    say(barrier.broken, outcome(barrier.abort), barrier.broken, outcome(barrier.wait))
    alone = ctx.Barrier(1, action=partial(say, "the action"))
    say("alone:", alone.wait(), alone.wait())
    event = ctx.Event()
    say(event.wait(0.01), event.is_set(), event.set(), event.wait(), event.wait(0), event.clear(), event.wait(0))


if __name__ == "__main__":
    main()
