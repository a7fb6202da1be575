"""Calls that may fail, each tried once: what comes of it, in one line. Used by the bad_*.py of this folder.

A call that is still waiting after MP_PATIENCE seconds is interrupted by a signal: "waits". A slow machine is told from
a call that waits by trying again with more patience.
"""

import os
import signal
from contextlib import contextmanager

from subject import say

ONLY = set(filter(None, os.environ.get("MP_ONLY", "").splitlines()))
PATIENCE = float(os.environ.get("MP_PATIENCE", "0.05"))


class Interrupted(BaseException):
    pass


def interrupt(_number, _frame):
    raise Interrupted


@contextmanager
def patience(seconds):
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, should a callback have swallowed it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def kind(value):
    """A result, so that it can be compared: plain values as they are, everything else by its class."""
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {', '.join(map(kind, value))}"
    plain = value is None or isinstance(value, (bool, int, float, str, bytes))
    return repr(value) if plain else f"a {type(value).__name__}"


def result_of(call, args, options, seconds=PATIENCE):
    try:
        with patience(seconds):
            return f"returns {kind(call(*args, **options))}"
    except Interrupted:
        return "waits"
    except BaseException as error:
        return f"raises {type(error).__name__}"


def attempt(label, call, *args, **options):
    """Try one call and say what comes of it; if MP_ONLY lists labels, only those."""
    if not ONLY or label in ONLY:
        say(label, "->", result_of(call, args, options))
