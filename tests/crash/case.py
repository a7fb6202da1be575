"""One case of the matrix: one scenario in a process of its own, in which one process is killed at one fault point.

Called by: run.py; the scenarios, tests/chaos and tests/soak use its parts. The case's process has a session of its
own, so that nothing of it can be left behind, and a time limit. It is forked from the runner, which has imported fastmp
but made no object: each case has its own shared memory.
"""

import faulthandler
import gc
import json
import mmap
import os
import select
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from groups import end_group, kill_group

import fastmp
from fastmp import _core

#: A case that takes longer has hung.
CASE_SECONDS = 15.0
#: How long survivors may take to finish once the victim is dead.
SURVIVAL_SECONDS = 4.0
#: How soon what the dead held must be given back.
SETTLE_SECONDS = 10.0
#: So much free memory is kept by a region, so that a scenario has more of it soon.
WARM_BYTES = 32 << 20
#: For so long the victim is stopped: more than a waiter sleeps before it asks who lives.
STOP_SECONDS = 0.15
#: How long processes of a case may outlive its outcome.
LEFT_SECONDS = 2.0

fork = fastmp.get_context("fork")


class Notes:
    """Numbers that outlive the process that wrote them; they do not depend on fastmp."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, count * 8)
        self._numbers = memoryview(self._memory).cast("q")

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._numbers[index] = value

    def wait_for(self, index: int, value: int, process: Any = None, seconds: float = 5.0) -> bool:
        """Wait until the number is at least `value`; False if `process` ends before."""
        deadline = time.monotonic() + seconds
        while self[index] < value:
            if process is not None and process.exitcode is not None:
                return self[index] >= value
            if time.monotonic() > deadline:
                raise AssertionError(f"note {index} is {self[index]} after {seconds} s, not {value}")
            time.sleep(0.001)
        return True


class Victim:
    """The one process that is killed: at the nth passage of `point`; or nowhere, to find out what it passes.

    Or it is stopped there for a while: then it is not robbed of anything, and everything is as if it had not been.
    """

    def __init__(self, point: str | None, nth: int, record: int, action: str = "kill") -> None:
        self.point, self.nth, self.record, self.action = point, nth, record, action
        self.killed = False
        self.died_at: float | None = None
        self.process: Any = None

    def enlist(self) -> None:
        """Called in the victim, when its part begins."""
        _core._fault_watch()
        if self.point is not None:
            _core._fault_arm(self.point, self.nth, self.action)

    def bequeath(self, unit: str) -> None:
        """Called in the parent of the victim: the child that is first to pass a point of the unit, yet without Python.

        Its parent tells its end to `note_end`.
        """
        _core._fault_bequeath(unit, self.point or "", self.nth, self.action)

    def start(self, body: Callable[..., object], *args: Any) -> Any:
        """Run `body(*args)` in the victim."""

        def run() -> None:
            self.enlist()
            body(*args)

        self.process = fork.Process(target=run, name="victim")
        self.process.start()
        return self.process

    def join(self, seconds: float = 5.0) -> bool:
        """Wait for the victim's end; True if it was killed."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the victim hangs"
        return self.note_end(self.process.exitcode)

    def note_end(self, exitcode: int) -> bool:
        """How the victim ended."""
        assert exitcode in (0, -signal.SIGKILL), f"the victim ended with {exitcode}"
        self.killed = exitcode == -signal.SIGKILL
        self.died_at = self.died_at or time.monotonic()
        assert not self.killed or (self.point is not None and self.action == "kill"), "killed by somebody else"
        return self.killed


def helper(body: Callable[..., object], *args: Any) -> Any:
    """A process of the scenario besides the victim."""
    process = fork.Process(target=body, args=args, name="helper")
    process.start()
    return process


def die_at(point: str) -> None:
    """Called in a helper: it is killed at the next passage of the point."""
    _core._fault_arm(point, 1)


def finish(*processes: Any, seconds: float = SURVIVAL_SECONDS, code: int = 0) -> None:
    """Survivors must end well, and soon."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        assert process.exitcode is not None, f"{process.name} hangs"
        assert process.exitcode == code, f"{process.name} ended with {process.exitcode}"


def wait_dead(pid: int) -> None:
    """Until the process is a zombie; it is not reaped, as its parent would clear up after it then."""
    with suppress(ChildProcessError):  # on a busy machine it may have died, and been reaped, before its time
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


# ---- what is left afterwards ----


def blocks_in_use() -> dict[str, int]:
    """How many blocks somebody holds."""
    stats = _core.heap_stats()
    return {phase: stats[phase] for phase in ("owned", "transit", "shared")}


def check_given_back(baseline: dict[str, int]) -> None:
    """Everything that the scenario allocated must be free again."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        gc.collect()
        found = blocks_in_use()
        if found == baseline:
            return
        # Dead children of dead parents are looked after when a process starts or ends.
        finish(helper(int))
        assert time.monotonic() < deadline, f"blocks leaked: {found}, before {baseline}"
        time.sleep(0.01)


# ---- one case, in its own process and from outside ----


@dataclass
class Outcome:
    """What a case showed."""

    killed: bool = False
    passed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


def play(scenario: Callable[[Victim], None], point: str | None, nth: int, action: str) -> Outcome:
    """Play the scenario in this process."""
    os.environ["FASTMP_WARM_BYTES"] = str(WARM_BYTES)
    record = _core._fault_record()
    gc.collect()
    baseline = blocks_in_use()
    victim = Victim(point, nth, record, action)
    start = time.monotonic()
    scenario(victim)
    check_given_back(baseline)
    end = time.monotonic()
    survived = end - (victim.died_at or start)
    limit = SURVIVAL_SECONDS + SETTLE_SECONDS
    assert survived < limit, f"the survivors took {survived:.1f} s"
    return Outcome(victim.killed, _core._fault_passed(), end - start)


def _be_case(
    write_end: int, errors: int, scenario: Callable[[Victim], None], point: str | None, nth: int, action: str
) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the runner's own is not the case's
    os.dup2(errors, 2)
    faulthandler.register(signal.SIGUSR1, file=errors)
    warnings.simplefilter("always")
    try:
        outcome = play(scenario, point, nth, action)
    except BaseException:
        outcome = Outcome(passed=_core._fault_passed(), error=traceback.format_exc())
    os.write(write_end, json.dumps(vars(outcome)).encode())
    os._exit(0)


def _stopped(group: int) -> list[int]:
    """The processes of the case that are stopped."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            if fields[0] == "T" and int(fields[3]) == group:
                found.append(int(name))
    return found


def _continue_stopped(group: int) -> None:
    """Whoever is stopped goes on, when the others have had time to take it for dead."""
    found = _stopped(group)
    if found:
        time.sleep(STOP_SECONDS)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _read_outcome(read_end: int, seconds: float, stopping: int) -> Outcome | None:
    """What the case has written; None if it has not within its time, or died. Meanwhile who stops is continued."""
    poller = select.poll()
    poller.register(read_end, select.POLLIN)
    deadline = time.monotonic() + seconds
    while not poller.poll(10 if stopping else max(0.0, deadline - time.monotonic()) * 1000):
        if time.monotonic() >= deadline:
            return None
        _continue_stopped(stopping)
    data = os.read(read_end, 1 << 16)
    return Outcome(**json.loads(data)) if data else None


def run_case(
    scenario: Callable[[Victim], None],
    point: str | None,
    nth: int,
    seconds: float = CASE_SECONDS,
    action: str = "kill",
) -> Outcome:
    """Play the scenario in a new process, for at most so many seconds."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            _be_case(write_end, errors.fileno(), scenario, point, nth, action)
        os.close(write_end)
        try:
            outcome = _read_outcome(read_end, seconds, pid if action == "stop" else 0)
        except BaseException:  # the runner is told to end: so is the case
            kill_group(pid)
            raise
        finally:
            os.close(read_end)
        if outcome is None:
            outcome = Outcome(error=f"hangs, or died: no outcome within {seconds:.0f} s\n")
            kill_group(pid)
        if not end_group(pid, LEFT_SECONDS) and not outcome.error:
            outcome.error = "a process was left behind"
        if outcome.error:
            errors.seek(0)
            outcome.error += errors.read().decode(errors="replace")[-4000:]
    return outcome
