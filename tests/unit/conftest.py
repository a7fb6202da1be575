"""Fixtures of the tests per module. The package is imported when a test asks for one: some tests are of its build."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.pipes import Ends


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
