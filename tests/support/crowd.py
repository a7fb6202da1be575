"""Functions run in forked children, several at once: who fails, and who does not end, is told.

The children are the standard library's processes, so that what is tested does not depend on fastmp's own. Used by the
tests of shared values.
"""

import multiprocessing
from collections.abc import Callable
from typing import Any

fork = multiprocessing.get_context("fork")


def run(*calls: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
    """Make each call in a child of its own, all at once; every child must end well."""
    children = [fork.Process(target=target, args=args) for target, args in calls]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * len(children)


def in_child(function: Callable[[], object]) -> None:
    """Make one call in a child."""
    run((function, ()))
