"""The helper thread of a pool or an executor: takes results and runs callbacks while nobody waits for a result.

Called by: `fastmp.pool`, `fastmp.concurrent.futures.process`, on the first need. It holds its owner weakly, and leaves
the results to other threads that are taking them.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from . import _core

    _Owner = TypeVar("_Owner")


#: Seconds that the helper stays out of the way of a thread that takes results itself.
_BACK_OFF = 0.005
#: Seconds of one wait: how long it takes at most to notice that the owner was thrown away.
_SLICE = 0.5


def start_helper(
    owner: _Owner,
    crew: _core.Crew,
    must_go_on: Callable[[_Owner], bool],
    run_deferred: Callable[[Any], None],
) -> threading.Thread:
    """Start the thread. It ends when the owner is gone or `must_go_on(owner)` is false."""
    args = (weakref.ref(owner), crew, must_go_on, run_deferred)
    thread = threading.Thread(target=_help, args=args, name="fastmp-helper", daemon=True)
    thread.start()
    return thread


def _help(
    ref: weakref.ref[Any], crew: _core.Crew, must_go_on: Callable[[Any], bool], run_deferred: Callable[[Any], None]
) -> None:
    pause = threading.Event()
    seen = crew.pumps
    while True:
        while crew.deferred:
            with suppress(Exception):  # of a callback is told by run_deferred; here: nobody can be told (a full disk)
                run_deferred(crew.deferred.pop(0))
        owner = ref()
        if owner is None or not must_go_on(owner):
            return
        del owner
        if crew.pumps != seen:  # somebody else takes the results
            seen = crew.pumps
            pause.wait(_BACK_OFF)
            continue
        try:
            crew.pump(_SLICE)
        except Exception:
            with suppress(Exception):
                sys.excepthook(*sys.exc_info())
        seen = crew.pumps
