"""The 25 behaviours that users rely on: programs/bNN_*.py shows number NN.

Each program prints what it sees. It runs on the standard library and on fastmp, imported by name and installed in
place, under each start method. What it prints, its exit code and what it says on stderr must be the same: the standard
library of the running Python is the judge. One behaviour: `pytest -k b17`.
"""

import functools
import os
import re
import sys
from pathlib import Path

import pytest
from support.programs import python

import fastmp

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("b[0-9]*.py"))
BACKENDS = {
    "standard": {"MP_MODULE": "multiprocessing"},
    "imported": {"MP_MODULE": "fastmp"},
    "installed": {"MP_MODULE": "multiprocessing", "FASTMP_INSTALL": "1"},
}
#: Both ways under fork. Under the others, which take seconds for each program, one on this Python and one on the next.
CASES = [
    (method, backend)
    for number, method in enumerate(fastmp.get_all_start_methods())
    for way, backend in enumerate(("imported", "installed"))
    if method == "fork" or (sys.version_info.minor + number + way) % 2 == 0
]
ARGUMENTS = ["--an", "argument"]
STDIN = "a line for the program\n"

pytestmark = pytest.mark.time_limit(180)


def plain(text: str) -> str:
    """What a program says, without the names of files of the library and what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r'File "[^"]*/(\w+\.py)", line \d+', r"File \1", text)
    return "\n".join(line for line in text.splitlines() if "^^^" not in line)


@functools.cache
def run(program: Path, method: str, backend: str) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, standard error."""
    env = {"MP_METHOD": method, "PYTHONHASHSEED": "0", **BACKENDS[backend]}
    done = python(program, *ARGUMENTS, env=env, stdin=STDIN)
    return done.returncode, done.stdout.splitlines(), plain(done.stderr)


@pytest.mark.parametrize(("method", "backend"), CASES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_behaviour(program, method, backend):
    code, expected, errors = run(program, method, "standard")
    assert code == 0, errors
    assert len(expected) > 2
    assert run(program, method, backend) == (code, expected, errors)


def test_all_25_are_there():
    numbers = {int(path.stem[1:3]) for path in PROGRAMS}
    assert numbers == set(range(1, 26))
    assert os.environ.get("FASTMP_INSTALL") is None
