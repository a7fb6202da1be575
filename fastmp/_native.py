"""`map_native`: a C function called over shared arrays by the workers of a pool or an executor.

The flow: `Pool.map_native` -> `prepare` (here: signature, arguments, result; everything is checked before anything
runs) -> one task for each part of the items, as any other map's -> `Plan.__call__` in the worker ->
csrc/py/native.c -> csrc/native/call.c, which calls the function for each item, without the GIL.

The worker finds the function by the library's path and the place in it (csrc/native/symbol.h), and the arrays by their
offsets in the shared memory that it has anyway.
"""

from __future__ import annotations

import operator
import os

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._arrays import Argument
    from ._signature import Signature

__all__ = ["Call", "NativeJob", "Plan", "prepare"]

#: Parts for each worker, so that one who was late does not keep the others waiting for long. As Pool.map.
_PARTS = 4


class Plan:
    """All that a worker needs to make its part of the calls; sent to it once."""

    def __init__(self, name: str, place: tuple[str | None, int, bytes], settings: tuple[Any, ...]) -> None:
        self.__name__ = name
        self._place = place
        self._settings = settings
        self._call: _core.NativeCall | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.__name__, self._place, self._settings)

    def __call__(self, start: int, stop: int) -> None:
        """Make the calls [start, stop)."""
        if self._call is None:
            self._call = _core.NativeCall(self._find(), *self._settings)
        self._call.run(start, stop)

    def _find(self) -> int:
        """The function's address in this process."""
        path, offset, code = self._place
        if path is not None:
            return _core.native_open(path, offset, code)
        if not _core.native_has_code(offset, code):
            raise RuntimeError(
                f"{self.__name__} was compiled after worker {os.getpid()} was started, and lies in no library that the "
                "worker could open: make the pool when the function is there"
            )
        return offset


class Call:
    """One call of `map_native`: its parts, and what it returns."""

    def __init__(self, plan: Plan, parts: list[tuple[int, int]], step: int, result: Any, keep: object) -> None:
        self.plan = plan
        self.parts = parts  #: calls [start, stop), one part for each task
        self.result = result
        self._step = step  #: items for each call
        self._keep = keep  #: the arrays: the workers do not hold them

    def indices(self, task: int) -> range:
        """The items of a task."""
        start, stop = self.parts[task]
        return range(start * self._step, stop * self._step)


class NativeJob(_core.Job):
    """What an executor's call waits for. With a future, that one has the outcome; the helper thread tells it."""

    def __init__(self, executor: object, call: Call, future: Any = None) -> None:
        super().__init__()
        self._pool = executor  # it is not thrown away while results are to come
        self._what = call.plan
        self._call = call
        self._future = future
        self._deferred = future is not None

    def get(self, timeout: float | None = None) -> Any:
        """Return the array of results when all calls are made."""
        super().get(timeout)
        return self._call.result

    def cancel(self) -> bool:
        """A call that is under way is not cancelled."""
        return False

    def _indices(self, task: int) -> range:
        return self._call.indices(task)

    def _run_callbacks(self) -> None:
        self._finish()
        if self._success:
            self._future.set_result(self._call.result)
        else:
            self._future.set_exception(self._value)


def prepare(
    function: Any,
    arrays: tuple[Any, ...],
    out: Any,
    chunksize: int | None,
    block: bool,
    signature: Any,
    workers: int,
) -> Call:
    """Check everything and return what is to be done.

    :raises TypeError: names the argument that does not fit the function
    :raises ValueError: for lengths that differ, and a chunksize below 1
    """
    from ._arrays import bind
    from ._signature import read_signature

    found = read_signature(function, signature)
    chunksize = _checked_chunk(chunksize)
    params, out_param = _params_for(found, len(arrays), block)
    arguments = [bind(p, a, f"argument {n}", block) for n, (p, a) in enumerate(zip(params, arrays, strict=True), 1)]
    length = _common_length(arguments)
    chunk = chunksize or max(1, -(-length // (workers * _PARTS)))
    calls = -(-length // chunk) if block else length
    if block and chunk >= 1 << 8 * _size(found.params[-1]):
        raise ValueError(f"a block of {chunk} items is more than the function's last parameter can count")
    place, result, keep = _results(found, out, out_param, length, calls, arrays)
    if out_param is not None:
        arguments.append(bind(out_param, result, "out", block))
        if arguments[-1].count != length:
            raise ValueError(f"out has {arguments[-1].count} items; the arrays have {length}")
    plan = Plan(found.name, _locate(found), _settings(found, arguments, place, length, chunk if block else 0))
    parts = _divide(calls, max(1, -(-calls // (workers * _PARTS))) if block else chunk)
    return Call(plan, parts, chunk if block else 1, result, (arguments, keep, found.keep))


def _checked_chunk(chunksize: Any) -> int | None:
    if chunksize is None:
        return None
    try:
        size = operator.index(chunksize)
    except TypeError:
        raise TypeError(f"chunksize must be an integer, not {type(chunksize).__name__}") from None
    if size < 1:
        raise ValueError(f"chunksize must be at least 1, not {size}")
    return size


def _size(type_: Any) -> int:
    import ctypes

    return ctypes.sizeof(type_)


def _params_for(found: Signature, count: int, block: bool) -> tuple[tuple[Any, ...], Any]:
    """The parameters that the arrays go to, and the one that the results' array goes to, if there is one."""
    params = found.params
    if not block:
        if len(params) != count:
            raise TypeError(f"{found.name} takes {len(params)} arguments, not {count}")
        return params, None
    if len(params) not in (count + 1, count + 2 if found.result is None else -1):
        raise TypeError(f"{found.name} takes {len(params)} arguments, not {count} and the number of items")
    if getattr(params[-1], "_type_", None) not in tuple("bBhHiIlLqQ"):
        raise TypeError(f"the last parameter of {found.name} is not an integer, to tell the number of items")
    return params[:count], params[count] if len(params) == count + 2 else None


def _common_length(arguments: list[Argument]) -> int:
    lengths = {number: a.count for number, a in enumerate(arguments, 1) if a.count is not None}
    if not lengths:
        raise TypeError("map_native() needs an array: all arguments are single values")
    first, length = next(iter(lengths.items()))
    for number, other in lengths.items():
        if other != length:
            raise ValueError(f"argument {number} has {other} items, argument {first} has {length}")
    return length


def _results(
    found: Signature, out: Any, out_param: Any, length: int, calls: int, arrays: tuple[Any, ...]
) -> tuple[Any, Any, Any]:
    """Where results are stored (None: nowhere), what is returned, and what keeps the memory."""
    from ._arrays import bind_out

    type_, count = found.result, calls
    if out_param is not None:  # the function stores them itself
        type_, count = getattr(out_param, "_type_", None), length
        if out is None and not isinstance(type_, type):
            raise TypeError(f"out is needed: {found.name} does not tell the type of its results")
    if type_ is None:
        if out is not None:
            raise TypeError(f"out has nothing to hold: {found.name} has no result")
        return None, None, None
    result = _new_results(type_, count, arrays) if out is None else out
    if out_param is not None:
        return None, result, None
    place, keep = bind_out(type_, result, count)
    return place, result, keep


def _new_results(type_: Any, count: int, arrays: tuple[Any, ...]) -> Any:
    """A new shared array: NumPy's if an argument is one, in its shape."""
    import sys

    from .sharedctypes import RawArray

    raw = RawArray(type_, count)
    numpy = sys.modules.get("numpy")
    for array in arrays:
        if numpy is not None and isinstance(array, numpy.ndarray) and array.ndim:
            shape = array.shape if array.size == count else (count,)
            return _as_numpy(numpy, raw, type_, shape)
    return raw


def _as_numpy(numpy: Any, raw: Any, type_: Any, shape: tuple[int, ...]) -> Any:
    """The array itself if NumPy has no such type. Not by its buffer, whose format NumPy does not read for all types."""
    try:
        return numpy.ndarray(shape, numpy.dtype(type_), raw)
    except (TypeError, ValueError, NotImplementedError):
        return raw


def _locate(found: Signature) -> tuple[str | None, int, bytes]:
    path, offset, code = _core.native_locate(found.address)
    return os.path.abspath(path) if path else path, offset, code


def _settings(found: Signature, arguments: list[Argument], out: Any, length: int, block: int) -> tuple[Any, ...]:
    """What `_core.NativeCall` takes behind the address."""
    from ._signature import type_text

    texts = tuple(type_text(param, "a parameter") for param in found.params)
    result = "v" if found.result is None else type_text(found.result, "the result")
    return result, texts, tuple(a.packed() for a in arguments), out, length, block


def _divide(calls: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, calls)) for start in range(0, calls, size)]
