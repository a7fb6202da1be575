"""For every test: a time limit, and a look at what it left behind.

A test that needs longer says `@pytest.mark.time_limit(seconds)`. One that must leave something (and says why) carries
`@pytest.mark.leaves("reason")`. What is not of the package, such as the benchmarks' runner, is `@pytest.mark.once`:
`make test` runs it on one Python.
"""

import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest
from support.leftovers import left_since, snapshot
from support.watchdog import Watchdog

DEFAULT_SECONDS = 60.0
HARD_EXTRA_SECONDS = 15.0  # for a test that its own limit cannot interrupt

watchdog_key = pytest.StashKey[Watchdog]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "time_limit(seconds): another limit than the usual one")
    config.addinivalue_line("markers", "leaves(reason): the look at leftovers is not for this test")
    config.addinivalue_line("markers", "once: not of the package; one Python is enough")
    config.stash[watchdog_key] = Watchdog()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored below nohup and in the background
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # a test that eats all memory is ended before anybody else
    if not faulthandler.is_enabled():
        faulthandler.enable(file=os.dup(sys.__stderr__.fileno()), all_threads=True)


def keep_what_is_there() -> None:
    """What pytest holds stays. Each test that collects what it has dropped would search all of it: up to 0.3 s."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    keep_what_is_there()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[watchdog_key].close()


def out_of_time(_signum: int, _frame: FrameType | None) -> None:
    raise TimeoutError("the test is over its time limit")


def seconds_allowed(item: pytest.Item) -> float:
    marker = item.get_closest_marker("time_limit")
    return float(marker.args[0]) if marker else DEFAULT_SECONDS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """The hard limit, for set-up and clean-up too: ends the run, with all stacks on stderr."""
    watchdog = item.config.stash[watchdog_key]
    watchdog.limit(seconds_allowed(item) + HARD_EXTRA_SECONDS)
    try:
        return (yield)
    finally:
        watchdog.limit(0)
        if nextitem is None or nextitem.path != item.path:
            keep_what_is_there()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """The soft limit: raises in the test."""
    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds_allowed(item))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, a thread, a descriptor or shared memory."""
    before = snapshot()
    yield
    request.node.funcargs.clear()  # or what the fixtures have made would still be there
    if request.node.get_closest_marker("leaves") is None:
        left = left_since(before)
        if left:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)
