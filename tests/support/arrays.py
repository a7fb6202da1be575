"""What children of every start method do with arrays that came by reference."""

from typing import Any

import fastmp


def add_one(array: Any) -> None:
    """Change the array that the caller has."""
    array += 1


def add_one_and_return(array: Any) -> Any:
    """The same; the result is that array too."""
    array += 1
    return array[::-1]


def make(length: int) -> Any:
    """Return an array that this process has made."""
    array = fastmp.shared_array(length)
    array[:] = range(length)
    return array[1:]


def pass_on(take: Any, give: Any, count: int) -> None:
    """Send on what comes, changed."""
    for _ in range(count):
        array = take()
        array += 1
        give(array[1:])


def keep(take: Any, give: Any) -> None:
    """Hold an array until the end."""
    array = take()
    give(float(array[0]))
    take()
