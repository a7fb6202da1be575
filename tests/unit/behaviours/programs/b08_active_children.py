"""8. `active_children()` reaps."""

import time
from pathlib import Path

from subject import METHOD, SECONDS, ctx, eventually, mp, say


def state(pid):
    """Z for a process that has ended and was not reaped; nothing for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def main():
    say(mp.active_children())
    gate = ctx.Event()
    runs = ctx.Process(target=time.sleep, args=(SECONDS,))
    ends = [ctx.Process(target=gate.wait) for _ in range(3)]
    for process in [runs, *ends]:
        process.start()
    say("all are active:", sorted(child.name for child in mp.active_children()))
    gate.set()
    ended = "gone" if METHOD == "forkserver" else "Z"  # the server reaps its children
    say("those that have ended wait:", eventually(lambda: [state(process.pid) for process in ends] == [ended] * 3))
    say("one is active:", mp.active_children() == [runs])
    say("the others are gone:", [state(process.pid) for process in ends])
    say("their exit codes:", [process.exitcode for process in ends], [process.is_alive() for process in ends])
    runs.terminate()
    runs.join()
    say(mp.active_children())


if __name__ == "__main__":
    main()
