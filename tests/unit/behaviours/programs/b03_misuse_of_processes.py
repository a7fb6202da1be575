"""3. AssertionError on start twice and join before start; ValueError on close while running and use after close."""

import time

from subject import SECONDS, ctx, outcome, plain, run, say

METHODS = ("start", "join", "is_alive", "terminate", "kill", "close")
ATTRIBUTES = ("exitcode", "ident", "pid", "sentinel", "name", "daemon", "authkey")


def try_all(process):
    for method in METHODS:
        say(method, outcome(getattr(process, method)))
    for attribute in ATTRIBUTES:
        say(attribute, outcome(lambda name=attribute: type(getattr(process, name)).__name__))


def main():
    process = ctx.Process(target=time.sleep, args=(SECONDS,), name="subject")
    for method in ("join", "terminate", "kill", "is_alive"):
        say("before the start:", method, outcome(getattr(process, method)))
    for attribute in ATTRIBUTES:
        say("before the start:", attribute, outcome(lambda name=attribute: type(getattr(process, name)).__name__))
    process.start()
    say("twice:", outcome(process.start))
    say("close while it runs:", outcome(process.close))
    say("daemon while it runs:", outcome(setattr, process, "daemon", True))
    say("join with a timeout:", outcome(process.join, 0.01), process.exitcode)
    process.kill()
    process.join()
    for method in ("join", "is_alive", "terminate", "kill"):
        say("after the end:", method, outcome(getattr(process, method)))
    say("start after the end:", outcome(process.start))
    process.close()
    say("closed twice:", outcome(process.close))
    try_all(process)
    say("its repr:", plain(repr(process)))
    never = ctx.Process()
    never.close()
    try_all(never)
    say("wrong group:", outcome(ctx.Process, 1))
    say("args that are none:", outcome(ctx.Process, None, None, None, 5))
    say("no mapping:", outcome(ctx.Process, kwargs=5))
    say("a target that cannot be called:", run(5).exitcode)


if __name__ == "__main__":
    main()
