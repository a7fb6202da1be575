"""2. `exitcode` is None, 0, n, 1 or -signal; `sys.exit(None/int/str)` maps as in a script; `terminate` gives -15."""

import os
import signal
import sys
import time

from subject import SECONDS, ctx, run, say


class Odd(SystemExit):
    pass


def leave(code):
    sys.exit(code)


def leave_without():
    raise SystemExit


def leave_with_two():
    raise Odd("one", 2)


def die(number):
    os.kill(os.getpid(), number)
    time.sleep(SECONDS)


def fail():
    raise LookupError("on purpose")


def interrupt():
    raise KeyboardInterrupt


def stop(process, how):
    process.start()
    say("while it runs:", process.exitcode)
    getattr(process, how)()
    process.join()
    say(how, process.exitcode)


def main():
    process = ctx.Process(target=time.sleep, args=(SECONDS,))
    say("before the start:", process.exitcode)
    stop(process, "terminate")
    stop(ctx.Process(target=time.sleep, args=(SECONDS,)), "kill")
    say("no target:", run(None).exitcode)
    say("to the end:", run(len, "abc").exitcode)
    for code in (None, 0, 5, 255, True, False, "a text for stderr", "", (), 2.5):
        say("sys.exit", repr(code), run(leave, code).exitcode)
    say("a bare SystemExit:", run(leave_without).exitcode)
    say("two arguments:", run(leave_with_two).exitcode)
    say("os._exit:", run(os._exit, 7).exitcode)
    say("an exception:", run(fail).exitcode)
    say("KeyboardInterrupt:", run(interrupt).exitcode)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGUSR1):
        say(number.name, run(die, number).exitcode)


if __name__ == "__main__":
    main()
