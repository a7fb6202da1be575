"""6. Forked children skip inherited `atexit` handlers; `Process NAME:` and the traceback on stderr."""

import atexit
import os
import sys

from subject import mp, part, run, say


def end():
    say("a child ends:", mp.current_process().name)


def register_and_end():
    atexit.register(say, "registered with atexit in the child")
    part("util").Finalize(None, say, ("registered with Finalize in the child",), exitpriority=10)
    sys.stdout.write("written, not flushed\n")


def fail(text):
    raise ValueError(text)


def fail_in_a_row():
    try:
        fail("the first")
    except ValueError as error:
        raise KeyError("the second") from error


def exit_with(text):
    sys.exit(text)


def main():
    atexit.register(say, "registered in main")
    run(end)
    run(register_and_end)
    for target, args in ((fail, ("on purpose",)), (fail_in_a_row, ()), (exit_with, ("text of sys.exit",))):
        say(run(target, *args, name="NAME").exitcode)
    run(os._exit, 0)
    say("main ends")


if __name__ == "__main__":
    main()
