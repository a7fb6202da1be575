"""Processes that no fork makes: whoever starts one is killed, and whoever is started.

Each scenario is called with the victim, in a process of its own (case.py). Called by: run.py. The new process is a
fresh interpreter, started by subprocess with the raw calls of `fastmp._core`, in the order of csrc/pyrt/newcomers.h.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import set_spawning_popen
from multiprocessing.popen_spawn_posix import _DupFd
from pathlib import Path
from queue import Empty
from typing import Any

from case import SURVIVAL_SECONDS, Notes, Victim

import fastmp
from fastmp import _core
from fastmp.reduction import ForkingPickler

#: What the new process does: it joins the record of fault points if it is the victim, then takes part.
NEWCOMER = """
import pickle, sys
from fastmp import _core
fd, token, identity, record, point, nth, action = sys.argv[1:]
if int(record) >= 0:
    _core._fault_join(int(record))
    _core._fault_watch()
    if point:
        _core._fault_arm(point, int(nth), action)
_core.enter(int(fd), bytes.fromhex(token), int(identity))
data = sys.stdin.buffer.read()
if data:  # else the starter was killed
    queue, back, lock, value = pickle.loads(data)
    with lock:
        value.value += 1
    back.put(queue.get(timeout=1))
    back.put(bytes(70_000))
"""


class Descriptors:
    """What `DupFd` asks for the descriptors of a child that is being started."""

    DupFd = _DupFd

    def __init__(self) -> None:
        self.fds: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        """Return the number that it has in the child."""
        self.fds.append(fd)
        return fd


def pickle_for(identity: int, things: Any) -> tuple[bytes, list[int]]:
    """Hold the objects for the child: their pickle, and the descriptors that go with it."""
    descriptors = Descriptors()
    previous = _core.hold_for(identity)
    set_spawning_popen(descriptors)  # type: ignore[arg-type]
    try:
        return bytes(ForkingPickler.dumps(things)), descriptors.fds
    finally:
        set_spawning_popen(None)
        _core.hold_for(previous)


def start(things: Any, victim: Victim | None = None) -> subprocess.Popen[bytes]:
    """Start a new process with these objects."""
    fd, token = _core.region()
    identity = _core.reserve_child()
    data, fds = pickle_for(identity, things)
    fault = [-1, "", 0, ""] if victim is None else [victim.record, victim.point or "", victim.nth, victim.action]
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", NEWCOMER, *map(str, [fd, token.hex(), identity, *fault])],
        pass_fds=[fd, *fds, *([] if victim is None else [victim.record])],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(fastmp.__file__).parent.parent)},
    )
    _core.child_started(identity, process.pid)
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:  # it was killed before it read
        pass
    process.stdin = None
    return process


def end(process: subprocess.Popen[bytes]) -> int:
    """How it has ended."""
    code = process.wait(SURVIVAL_SECONDS)
    _core.reaped(process.pid)
    return code


def make_things() -> tuple[Any, ...]:
    """Something of each kind."""
    return fastmp.Queue(), fastmp.SimpleQueue(), fastmp.Lock(), fastmp.Value("i", 0)


def take_part(queue: Any, back: Any) -> None:
    """The starter's half."""
    queue.put("x")
    assert back.get() == "x"
    assert len(back.get()) == 70_000


def starter_dies(victim: Victim) -> None:
    """The new process, if there is one by then, ends by itself."""
    things, notes = make_things(), Notes(1)

    def body() -> None:
        process = start(things)
        take_part(*things[:2])
        assert end(process) == 0
        notes[0] = 1

    victim.start(body)
    killed = victim.join(SURVIVAL_SECONDS)
    assert killed or notes[0] == 1
    assert things[2].acquire(timeout=SURVIVAL_SECONDS)
    things[2].release()
    with suppress(Empty):  # the new process may have been slower than its starter, whose message may be lost
        while True:
            things[0].get(timeout=0.5)


def newcomer_dies(victim: Victim) -> None:
    """Another one, started after it, does what it did not."""
    things = make_things()
    process = start(things, victim)
    things[0].put("y")
    if victim.note_end(end(process)):
        other = start(things)
        things[0].put("x")
        assert end(other) == 0
        assert things[3].value in (1, 2)
    while not things[1].empty():
        things[1].get()


def heir_dies(victim: Victim) -> None:
    """A child of a fork server that has the region already, and enters it once more."""
    things = make_things()
    fd, token = _core.region()
    identity = _core.reserve_child()
    pickle_for(identity, things)

    def body() -> None:
        _core.enter(fd, token, identity)
        with things[2]:
            things[3].value += 1

    victim.start(body)
    _core.child_started(identity, victim.process.pid)
    victim.join()
    assert things[2].acquire(timeout=SURVIVAL_SECONDS)
    things[2].release()


def failed_start(victim: Victim) -> None:
    """What was held is given back, whoever gives it back."""

    def body() -> None:
        for _ in range(3):
            identity = _core.reserve_child()
            pickle_for(identity, make_things())
            _core.child_failed(identity)

    victim.start(body)
    victim.join()


SCENARIOS: dict[str, Callable[[Victim], None]] = {
    "New process, who starts it": starter_dies,
    "New process, who is started": newcomer_dies,
    "New process, who has the region already": heir_dies,
    "New process, who gives up starting it": failed_start,
}
