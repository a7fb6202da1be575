"""3. The process object of another process: only its maker may start, join or ask it."""

import os
import time

from subject import METHOD, SECONDS, ctx, outcome, plain, say

running = None


def touch(process):
    for method in ("start", "join", "is_alive"):
        say("in another process:", method, outcome(getattr(process, method)))
    say("exitcode", outcome(lambda: process.exitcode))
    say("repr", plain(repr(process)).replace(str(os.getppid()), "N").replace(f"pid={process.pid}", "pid=N"))


def main():
    process = ctx.Process(target=time.sleep, args=(SECONDS,), name="subject")
    process.start()
    child = ctx.Process(target=touch, args=(process,))
    say("its maker:", process.is_alive(), process.exitcode)
    if METHOD == "fork":
        child.start()
        child.join()
        say(child.exitcode)
    else:
        say("it does not pickle:", outcome(child.start))
    process.kill()
    process.join()
    say("afterwards:", process.is_alive(), process.exitcode)


if __name__ == "__main__":
    main()
