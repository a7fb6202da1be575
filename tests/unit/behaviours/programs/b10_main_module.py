"""10. Under spawn and forkserver `__main__` becomes `__mp_main__`, `sys.argv` is kept."""

import os
import pickle
import sys

from subject import ctx, run, say

say("the module runs as", __name__)


class Thing:
    pass


def tell(thing):
    say("name:", __name__, tell.__module__, type(thing) is Thing, type(thing).__module__)
    main = sys.modules["__main__"]
    say("main:", main.__name__, main is sys.modules.get("__mp_main__"), main.tell is tell)
    say("argv:", [os.path.basename(argument) for argument in sys.argv], os.path.basename(main.__file__))
    say("path:", os.path.basename(sys.path[0]), os.getcwd() == FOLDER, sys.executable == EXECUTABLE)
    say("a function of main pickles:", pickle.loads(pickle.dumps(tell)) is tell, repr(tell).split(" at ")[0])
    say("flags:", sys.flags.dev_mode, sys.warnoptions)


FOLDER, EXECUTABLE = os.getcwd(), sys.executable


def main():
    run(tell, Thing())
    sys.argv.append("added")
    run(tell, Thing())
    with ctx.Pool(1) as pool:
        say("a pool:", type(pool.apply(Thing)) is Thing, pool.apply(arguments)[-1])


def arguments():
    return sys.argv


if __name__ == "__main__":
    main()
