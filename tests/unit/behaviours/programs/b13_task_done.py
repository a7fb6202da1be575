"""13. `task_done` too often is a ValueError; `join` waits for it."""

import threading
import time

from subject import SECONDS, ctx, outcome, say


def work(queue, done):
    for _ in range(3):
        queue.get(timeout=SECONDS)
        time.sleep(0.02)
        with done:
            done.value += 1
        queue.task_done()


def main():
    queue = ctx.JoinableQueue()
    say("without a put:", outcome(queue.task_done))
    say("join of an empty one:", outcome(queue.join))
    done = ctx.Value("i", 0)
    worker = ctx.Process(target=work, args=(queue, done))
    worker.start()
    for number in range(3):
        queue.put(number)
    queue.join()
    say("join has waited for all:", done.value)
    say("once too often:", outcome(queue.task_done))
    worker.join()
    queue.put("late")
    waiter = threading.Thread(target=queue.join)
    waiter.start()
    waiter.join(0.05)
    say("waits for a task that was put:", waiter.is_alive(), queue.get())
    waiter.join(0.05)
    say("and for one that was got:", waiter.is_alive())
    queue.task_done()
    waiter.join(SECONDS)
    say("and for no other:", waiter.is_alive(), outcome(queue.task_done))


if __name__ == "__main__":
    main()
