"""Bad input, compared with the standard library: timeouts, arguments, objects that are closed or have ended.

The programs/bad_*.py try each call once and say what comes of it: a result, the class of an error, or a wait. That must
be the same on the standard library and on fastmp, but for the rules of `ALLOWED`.
"""

import functools
import re
import sys
from pathlib import Path

import pytest
from support.programs import python

PROGRAMS = Path(__file__).parent / "programs"
PATIENT_SECONDS = "1"
# Call, what the standard library does, what fastmp does, and why it may: each a pattern for the whole text.
ALLOWED = [
    (
        r"executor\.map, .*: 2\*\*70",
        "raises OverflowError",
        "raises ValueError",
        "one error on every Python, as before 3.13",
    ),
    (".*", "(waits|hangs)", "(returns|raises) .*", "the standard library hangs"),
    (r".*\(nan\)", ".*", "raises ValueError", "NaN is no time, also where a call need not wait"),
    (r".*\((text|list|complex)\)", "(returns|raises StopIteration).*", "raises TypeError", "nor is a text"),
    (
        r"(Barrier.wait|Barrier\(timeout\)|Condition.wait_for, false)\(maxsize\)",
        "raises AssertionError",
        "raises OSError",
        "at some readings of the clock the standard library rounds it down, spins, and is interrupted anywhere",
    ),
    (".*wait_for, argument 1.*", "returns True", "raises TypeError", "the same"),
    (r".*\(Fraction\)", "raises TypeError", "(raises TimeoutError|returns None)", "what makes a float is a time"),
    (
        "Barrier, .*",
        "returns a Barrier",
        "raises (TypeError|ValueError|OverflowError)",
        "as from Python 3.12 on, or nearly",
    ),
    ("Condition, argument 0: (0|list)", "returns a Condition", "raises AttributeError", "that is no lock"),
    ("Condition.notify, argument 0: 1.5", "returns None", "raises TypeError", "that is no number of waiters"),
    (r".*, argument [01]: 2\*\*70", "raises OverflowError", "returns .*", "any true value blocks; workers start late"),
    ("Connection.*bytes.*, argument 1: None", "raises TypeError", "returns .*", "None is the default"),
    ("Connection.*bytes.*: 1.5", "raises (ValueError|OSError)", "raises TypeError", "that is no index"),
    ("Connection.recv_bytes_into, argument 0: bytes", "raises BufferTooShort", "raises TypeError", "it is read-only"),
    (r"Connection, argument 0: 2\*\*70", "returns a Connection", "raises OverflowError", "that is no descriptor"),
    ("Pool.apply.*, argument 2: None", "raises TypeError", "returns 1", "None is the default"),
    ("Pool.(star)?map, argument 2: -1", "returns list of None", "returns list of 1", "there it loses the results"),
    (r"Pool.(star)?map, argument 2: 2\*\*70", "raises ValueError", "raises OverflowError", "a size that no list has"),
    ("executor.map, argument 2: .*", ".*", ".*", "whether the result is there before its time is a matter of luck"),
]
#: Fork, and one that takes seconds for each program: another on the next Python.
METHODS = ("fork", ("spawn", "forkserver")[sys.version_info.minor % 2])

pytestmark = pytest.mark.time_limit(240)


def forget_semaphores() -> None:
    """The standard library's have a name for a moment, and keep it where the process is killed in it."""
    for path in Path("/dev/shm").glob("sem.mp-*"):
        path.unlink()


@functools.cache
def outcomes(program: str, method: str, module: str, patience: str = "0.05", only: str = "") -> dict[str, str]:
    """What comes of each call of a program."""
    env = {"MP_METHOD": method, "MP_MODULE": module, "MP_PATIENCE": patience, "MP_ONLY": only}
    done = python(PROGRAMS / program, env=env, seconds=100)  # the standard library may hang for 30 of them
    if module == "multiprocessing":
        forget_semaphores()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "tried all", done.stdout
    found = dict(line.split(" -> ") for line in done.stdout.splitlines()[:-1])
    assert module == "multiprocessing" or "hangs" not in found.values(), done.stdout + done.stderr
    return found


def is_allowed(call: str, standard: str, ours: str) -> bool:
    """Whether the difference is one of the known ones."""
    return any(all(map(re.fullmatch, patterns, (call, standard, ours))) for *patterns, _reason in ALLOWED)


def differences(program: str, method: str, **options: str) -> dict[str, tuple[str, str]]:
    """Call: what the standard library does, and what fastmp does."""
    standard = outcomes(program, method, "multiprocessing", **options)
    ours = outcomes(program, method, "fastmp", **options)
    assert standard.keys() == ours.keys()
    pairs = {call: (standard[call], ours[call]) for call in standard if standard[call] != ours[call]}
    return {call: pair for call, pair in pairs.items() if not is_allowed(call, *pair)}


def check(program: str, method: str) -> None:
    """A call that was slow is told from one that waits by a second try with more patience."""
    suspects = differences(program, method)
    if suspects:
        assert differences(program, method, patience=PATIENT_SECONDS, only="\n".join(suspects)) == {}


@pytest.mark.parametrize("method", METHODS)
def test_timeouts(method):
    check("bad_timeouts.py", method)


@pytest.mark.parametrize("method", METHODS)
def test_states(method):
    check("bad_states.py", method)


def test_arguments():
    check("bad_arguments.py", "fork")


def test_the_tables_are_not_empty():
    assert len(outcomes("bad_timeouts.py", "fork", "fastmp")) > 700
    assert len(outcomes("bad_arguments.py", "fork", "fastmp")) > 700
    assert len(outcomes("bad_states.py", "fork", "fastmp")) > 100
