"""The test frame itself: what must fail does fail, in tests/conftest.py and in tests/c/check.h."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.once, pytest.mark.time_limit(120)]

BAD_PYTHON = """
import multiprocessing, signal, threading, time
import pytest

held = []

def test_good():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]

def test_descriptor():
    held.append(open(__file__))

def test_thread():
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()

def test_child():
    held.append(multiprocessing.get_context("fork").Process(target=time.sleep, args=(5,)))
    held[-1].start()

@pytest.mark.time_limit(0.2)
def test_slow():
    time.sleep(60)

@pytest.mark.time_limit(0.2)
def test_cannot_be_interrupted():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(60)
"""
BAD_C = """
#include "check.h"

static void child(void *arg)
{
    *(int *)arg = 3;
}
static void sleeper(void *arg)
{
    (void)arg;
    pause();
}
static void test_good(void)
{
    int *shared = check_shared(sizeof *shared);
    CHECK_EXITED(check_fork(child, shared), 0);
    CHECK_EQ(*shared, 3);
    munmap(shared, sizeof *shared);
}
static void test_false(void)
{
    CHECK(1 > 2);
}
static void test_code(void)
{
    CHECK_OK(-EAGAIN);
}
static void test_descriptor(void)
{
    CHECK(dup(0) > 0);
}
static void test_child(void)
{
    check_fork(sleeper, NULL);
}
static void test_signal(void)
{
    raise(SIGSEGV);
}
static void test_slow(void)
{
    pause();
}
int main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_good);
    RUN(test_false);
    RUN(test_code);
    RUN(test_descriptor);
    RUN(test_child);
    RUN(test_signal);
    RUN(test_slow);
    return check_done();
}
"""


@pytest.fixture(scope="module")
def bad_python(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A pytest run of tests that each do one thing that is not allowed."""
    folder = tmp_path_factory.mktemp("bad")
    conftest = (TESTS / "conftest.py").read_text()
    (folder / "conftest.py").write_text(re.sub(r"(?m)^HARD_EXTRA_SECONDS = .*$", "HARD_EXTRA_SECONDS = 1.0", conftest))
    (folder / "test_bad.py").write_text(BAD_PYTHON)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", f"pythonpath={TESTS}", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def outcomes(run: subprocess.CompletedProcess[str], name: str) -> list[str]:
    return re.findall(rf"test_bad.py::{name} (\w+)", run.stdout)


def test_a_good_test_passes(bad_python: subprocess.CompletedProcess[str]) -> None:
    assert outcomes(bad_python, "test_good") == ["PASSED"]


@pytest.mark.parametrize("name", ["test_descriptor", "test_thread", "test_child"])
def test_what_is_left_is_an_error(name: str, bad_python: subprocess.CompletedProcess[str]) -> None:
    assert "ERROR" in outcomes(bad_python, name)


def test_a_slow_test_fails(bad_python: subprocess.CompletedProcess[str]) -> None:
    assert outcomes(bad_python, "test_slow") == ["FAILED"]


def test_a_test_that_cannot_be_interrupted_ends_the_run_with_its_stacks(
    bad_python: subprocess.CompletedProcess[str],
) -> None:
    assert bad_python.returncode != 0
    assert "Fatal Python error: Aborted" in bad_python.stderr
    assert "in test_cannot_be_interrupted" in bad_python.stderr


@pytest.fixture(scope="module")
def bad_c(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a C unit program says whose tests each do one thing that is not allowed."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "test_bad.c").write_text(BAD_C)
    compiler = shutil.which("cc") or "cc"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{TESTS / 'c'}"]
    command = [compiler, *flags, str(folder / "test_bad.c"), "-o", str(folder / "bad")]
    subprocess.run(command, timeout=60, check=True)
    env = {**os.environ, "CHECK_SECONDS": "1"}
    done = subprocess.run([folder / "bad"], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize("name", ["false", "code", "descriptor", "child", "signal", "slow"])
def test_c_kit_fails_what_must_fail(name: str, bad_c: str) -> None:
    assert f"FAIL test_{name}" in bad_c


def test_c_kit_counts(bad_c: str) -> None:
    assert "ok   test_good" in bad_c
    assert bad_c.splitlines()[-1] == "1 passed, 6 failed"
