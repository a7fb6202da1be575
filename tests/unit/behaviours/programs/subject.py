"""What a program of this folder runs on, as its environment says: MP_MODULE is `multiprocessing` or `fastmp`, and
MP_METHOD the start method. Imported by all of them, in their children too.
"""

import os
import re
import sys
import time
from importlib import import_module

MODULE, METHOD = os.environ["MP_MODULE"], os.environ["MP_METHOD"]
mp = import_module(MODULE)
ctx = mp.get_context(METHOD)
SECONDS = 30  # what a program waits at most for what comes at once


def part(name):
    """A submodule: part("queues") is `multiprocessing.queues` or `fastmp.queues`."""
    return import_module(f"{MODULE}.{name}")


def executor(workers=2, **options):
    """A ProcessPoolExecutor under the start method."""
    home = "concurrent.futures" if MODULE == "multiprocessing" else MODULE
    return import_module(home).ProcessPoolExecutor(workers, mp_context=ctx, **options)


def say(*words):
    """Print one fact, at once: several processes write to one standard output."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def plain(text):
    """A text without what differs from run to run: addresses and process numbers; `fastmp` is `multiprocessing`."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text).replace("fastmp.", "multiprocessing.")
    return re.sub(r"\b(pid|parent|process)[= ]\d+", r"\1=N", text)


def describe(error):
    """The class and the text of an exception."""
    return plain(f"{type(error).__name__}({str(error)!r})")


def outcome(call, *args, **options):
    """What a call does: the repr of its result, or the exception's class and text."""
    try:
        return plain(repr(call(*args, **options)))
    except Exception as error:
        return describe(error)


def error_class(call, *args, **options):
    """The name of the class that a call raises, or "nothing"."""
    try:
        call(*args, **options)
    except Exception as error:
        return type(error).__name__
    return "nothing"


def eventually(condition):
    """Wait until the condition is true; its value."""
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)
    return value


def run(target, *args, **options):
    """A process that runs the target to its end; it is joined."""
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    process.join(SECONDS)
    return process
