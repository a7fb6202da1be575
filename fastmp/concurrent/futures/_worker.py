"""What runs in a worker of an executor: its main function, and what it sends for exceptions.

Calls are taken, run and answered in C (csrc/pool/worker.c). Called by: `process.py`, which makes the workers.
"""

from __future__ import annotations

import logging
from concurrent.futures import process as _process
from contextlib import suppress

from ..._by_value import begin_results
from ..._workers import CarriesText, follow, parent_sentinel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ... import _core

__all__ = ["run_chunk", "work"]

_standard: Any = _process  # its inner names have no declared types
_logger = logging.getLogger("concurrent.futures")


class _Failure(CarriesText, _standard._ExceptionWithTraceback):  # type: ignore[misc]
    """An exception on its way to the parent."""


def wrap_error(error: BaseException) -> Any:
    return _Failure(error, error.__traceback__)


def wrap_unpicklable(error: BaseException, value: Any) -> Any:
    if isinstance(value, _standard._ExceptionWithTraceback):
        error.__context__ = value.exc  # its text is in the traceback that is sent
    return wrap_error(error)


def work(
    crew: _core.Crew,
    place: int,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    max_tasks: int | None,
    parent: int | None,
) -> None:
    """The main function of a worker process."""
    follow(parent)
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            _logger.critical("Exception in initializer:", exc_info=True)
            with suppress(Exception):  # it does not pickle: then it is in the log only
                crew.report(place, wrap_error(error))
            raise SystemExit(1) from None
    crew.by_value = begin_results()
    try:
        crew.work(place, max_tasks or 0, wrap_error, wrap_unpicklable, parent_sentinel())
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent prints the traceback of the user's Ctrl-C


def run_chunk(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in chunk]
