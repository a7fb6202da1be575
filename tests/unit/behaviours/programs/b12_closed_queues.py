"""12. A closed queue raises ValueError "is closed"; `join_thread` before `close` AssertionError; `qsize`/`full` count
unflushed items.
"""

from subject import ctx, outcome, say

CALLS = [
    ("put", (1,)),
    ("put_nowait", (1,)),
    ("get", ()),
    ("get_nowait", ()),
    ("get", (False,)),
    ("get", (True, 0.01)),
    ("put", (1, False)),
    ("close", ()),
    ("join_thread", ()),
    ("qsize", ()),
    ("full", ()),
    ("empty", ()),
]


def main():
    for make in (ctx.Queue, ctx.JoinableQueue):
        queue = make(3)
        say("join_thread before close:", outcome(queue.join_thread))
        for number in range(3):
            queue.put(number)
            say("unflushed:", queue.qsize(), queue.full())
        say(outcome(queue.put_nowait, 4), outcome(queue.put, 4, True, 0.01), outcome(queue.put, 4, True, 0))
        say([queue.get() for _ in range(3)], queue.qsize(), queue.full(), queue.empty())
        queue.close()
        for name, args in CALLS:
            say("closed:", name, args, outcome(getattr(queue, name), *args))
    queue = ctx.JoinableQueue()
    queue.put(1)
    queue.get()
    queue.close()
    say("closed:", outcome(queue.task_done), outcome(queue.join), outcome(queue.task_done))
    simple = ctx.SimpleQueue()
    simple.put(1)
    say(simple.empty(), simple.get(), simple.empty())
    simple.close()
    say("closed SimpleQueue:", *(outcome(call) for call in (lambda: simple.put(1), simple.get, simple.empty)))
    say("closed twice:", outcome(simple.close))
    unused = ctx.Queue()
    say("never used:", outcome(unused.close), outcome(unused.join_thread))
    unused = ctx.Queue()
    say("cancelled:", outcome(unused.cancel_join_thread), outcome(unused.close), outcome(unused.join_thread))


if __name__ == "__main__":
    main()
