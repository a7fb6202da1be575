"""5. At exit daemonic children are ended, the others joined."""

import atexit
import signal
import sys
import time

from subject import SECONDS, ctx, say


def sleep_as_daemon(ready, terminated):
    def on_terminate(_number, _frame):
        say("the daemonic child is terminated")
        terminated.set()
        sys.exit(0)

    signal.signal(signal.SIGTERM, on_terminate)
    ready.set()
    time.sleep(SECONDS)
    say("the daemonic child was forgotten")


def finish(ready, terminated):
    ready.set()
    say("the other child waits:", terminated.wait(SECONDS))
    time.sleep(0.05)
    say("the other child has finished")


def main():
    ready, other_ready, terminated = ctx.Event(), ctx.Event(), ctx.Event()
    atexit.register(say, "what was registered last runs first")
    ctx.Process(target=sleep_as_daemon, args=(ready, terminated), daemon=True).start()
    ctx.Process(target=finish, args=(other_ready, terminated)).start()
    ready.wait(SECONDS)
    other_ready.wait(SECONDS)
    say("main ends")


if __name__ == "__main__":
    main()
