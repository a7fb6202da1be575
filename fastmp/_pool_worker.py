"""What runs in a worker of a pool: its main function, and what it sends for exceptions.

Tasks are taken, run and answered in C (csrc/pool/worker.c). Called by: `fastmp/_pool_upkeep.py`, which makes
the workers.
"""

from __future__ import annotations

import os
from multiprocessing import pool as _pool
from multiprocessing import util as _util

from ._by_value import begin_results
from ._workers import CarriesText, follow, parent_sentinel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import _core
    from ._by_value import Results, Sender

__all__ = ["take_tasks", "work", "wrap_error", "wrap_unpicklable"]

_standard: Any = _pool  # its inner names have no declared types
util: Any = _util


class _Failure(CarriesText, _standard.ExceptionWithTraceback):  # type: ignore[misc]
    """An exception on its way to the parent."""


def wrap_error(error: BaseException) -> Any:
    """What is sent for the exception that ended a task."""
    if isinstance(error, KeyboardInterrupt):
        raise error  # the user's Ctrl-C reaches every process: this one ends
    if not isinstance(error, Exception):
        # A task that calls sys.exit() must end neither the worker nor, when the result is asked for, the parent.
        text = f"the task raised {type(error).__name__}({', '.join(map(repr, error.args))}) in process {os.getpid()}"
        return _Failure(RuntimeError(text), error.__traceback__)
    return _Failure(error, error.__traceback__)


def wrap_unpicklable(error: BaseException, value: Any) -> Any:
    """What is sent instead of a result, or a wrapped exception, that cannot be pickled."""
    if not isinstance(value, _standard.ExceptionWithTraceback):
        return _standard.MaybeEncodingError(error, value)
    instead = _standard.ExceptionWithTraceback(_standard.MaybeEncodingError(error, value.exc), None)
    instead.tb = value.tb  # where the exception was raised
    return instead


def work(
    crew: _core.Crew,
    place: int,
    initializer: Callable[..., Any] | None,
    initargs: Iterable[Any],
    maxtasks: int | None,
    wrap: bool,
    parent: int | None,
) -> None:
    """The main function of a worker process."""
    follow(parent)
    if initializer is not None:
        _initialise(crew, place, initializer, initargs)
    take_tasks(crew, place, maxtasks, wrap, parent_sentinel())


def take_tasks(
    crew: _core.Crew,
    place: int,
    maxtasks: int | None,
    wrap: bool,
    parent: int,
    results: Results | None = None,
    sender: Sender | None = None,
) -> None:
    """Do what a worker is for: the main function of one without an initializer that follows its parent already.

    :param parent: a descriptor that polls readable when the parent has ended
    :param results: if they were made before this process was forked
    :param sender: what the crew has had, which need not be freed then: to free is to write to pages that are copied
    """
    crew.by_value = begin_results(results)
    try:
        count = crew.work(place, maxtasks or 0, wrap_error if wrap else _plain_error, wrap_unpicklable, parent)
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # one traceback of the user's Ctrl-C is enough: the parent prints it
    if util._logger is not None:  # to call is to write to pages that are copied
        util.debug("worker exiting after %d tasks", count)


def _initialise(crew: _core.Crew, place: int, initializer: Callable[..., Any], initargs: Iterable[Any]) -> None:
    try:
        initializer(*initargs)
    except Exception as error:
        try:
            crew.report(place, _Failure(error, error.__traceback__))
        except Exception:
            raise error from None  # it does not pickle: it is printed here, as all exceptions of processes are
        raise SystemExit(1) from None


def _plain_error(error: BaseException) -> BaseException:
    if isinstance(error, Exception):
        return error
    wrapped = wrap_error(error)
    plain: BaseException = wrapped.exc
    return plain
