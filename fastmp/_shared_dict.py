"""`fastmp.shared_dict`: a dict in shared memory, without a server.

Each operation is C (csrc/py/dict.c, csrc/dict/dict.c): encode, take the dict's lock, change the table, give the lock
back, decode. A process that is killed in the middle of it loses its own change at most, and holds nobody up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self

from . import _core

__all__ = ["SharedDict", "shared_dict"]


class SharedDict(_core.SharedDict, MutableMapping[Any, Any]):  # type: ignore[misc]  # lists for views
    """A mapping that all processes see. See `fastmp.shared_dict`."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    def copy(self) -> dict[Any, Any]:
        """Return the entries of this moment as a dict of this process."""
        return dict(self.items())

    def __or__(self, other: Any) -> dict[Any, Any]:
        return self.copy() | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.keys()[::-1])

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None) -> Self:
        """Return a new shared dict with these keys, all of the same value."""
        return cls((key, value) for key in keys)

    def __repr__(self) -> str:
        return f"<SharedDict {self.copy()!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._arrive, (self._travel(),)


def shared_dict(*args: Any, **kwargs: Any) -> SharedDict:
    """Return a new dict in shared memory, with entries as `dict()` takes them.

    Keys are None, bool, int, float, str, bytes, and tuples of them; values are whatever can be pickled, and each access
    gives a copy: ``d[key].append(x)`` changes nothing, ``d[key] = d[key] + [x]`` does. Each method is one step for all
    processes, but `update`, which is one for each entry. `keys`, `values` and `items` are lists of one moment.
    """
    return SharedDict(*args, **kwargs)
