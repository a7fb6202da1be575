"""Fixtures of the tests per module. The package is imported when a test asks for one: some tests are of its build."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.pipes import Ends


METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(scope="session")
def servers() -> None:
    """What the standard library starts once, for the life of the process, is there before a test looks around."""
    from multiprocessing import resource_tracker

    from fastmp import forkserver

    resource_tracker.ensure_running()
    forkserver.ensure_running()


@pytest.fixture(scope="session")
def region() -> None:
    """The shared memory, which stays until the process ends, is there before a test looks around."""
    from fastmp import RawValue

    RawValue("i")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest, servers: None) -> str:
    """Each start method. What a child calls must be importable there: a builtin, or a function of tests/support."""
    return str(request.param)


@pytest.fixture
def ctx(method: str) -> Any:
    """The context of each start method."""
    import fastmp

    return fastmp.get_context(method)


@pytest.fixture
def pool() -> Iterator[Any]:
    """A pool of two workers."""
    from fastmp import Pool

    pool = Pool(2)
    yield pool
    pool.terminate()
    pool.join()
    for process in pool._pool:
        process.close()  # pytest keeps the pool alive longer than its look at leftovers


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A pipe for both directions."""
    from fastmp.connection import Pipe

    first, second = Pipe()
    with first, second:
        yield first, second


@pytest.fixture
def one_way() -> Iterator[Ends]:
    """A pipe for one direction: reader, writer."""
    from fastmp.connection import Pipe

    reader, writer = Pipe(duplex=False)
    with reader, writer:
        yield reader, writer
