"""4. Names end in `Process-N`; daemon flag; `parent_process()`; a child's stdin is /dev/null."""

import os
import sys

from subject import ctx, error_class, mp, outcome, run, say


def tell(depth):
    me, parent = mp.current_process(), mp.parent_process()
    say(me.name, "daemon" if me.daemon else "no daemon", me.pid == os.getpid(), me.ident == os.getpid())
    say("parent:", parent.name, parent.pid == os.getppid() or "through a server", parent.is_alive(), parent.exitcode)
    say("parent's", error_class(parent.start), error_class(parent.terminate), outcome(parent.join, 0))
    say("stdin:", repr(sys.stdin.read()), os.fstat(sys.stdin.fileno()).st_rdev == os.stat(os.devnull).st_rdev)
    say("stdin by number:", os.read(0, 10))
    say("it has no children:", mp.active_children())
    if depth:
        first, second = ctx.Process(target=tell, args=(0,)), ctx.Process(target=tell, args=(0,))
        say(first.name, second.name)
        say("child of", me.name, outcome(start_and_join, second))


def start_and_join(process):
    process.start()
    process.join()
    return process.exitcode


def main():
    say("main:", mp.current_process().name, mp.parent_process(), mp.current_process().daemon)
    say("stdin of main:", repr(sys.stdin.readline()))
    say([ctx.Process().name for _ in range(3)])
    say(mp.Process().name)
    process = ctx.Process(name="given", daemon=True)
    say(process.name, process.daemon, repr(process.name))
    process.name = "changed"
    process.daemon = False
    say(process.name, process.daemon, outcome(setattr, process, "name", 5), outcome(setattr, process, "daemon", 1))
    run(tell, 1)
    run(tell, 1, daemon=True)
    run(tell, 0, name="named")
    mp.current_process().name = "renamed"
    run(tell, 0)


if __name__ == "__main__":
    main()
