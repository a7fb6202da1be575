"""The stage on which processes live and are killed: what they write down, who they are, the clock, and the plan.

A *world* (worlds.py and its neighbours) has objects and groups of actors; an actor is a process that works on the
objects until it is told to stop. The *plan*, drawn from the episode's seed, says whom to kill, stop or leave alone,
after how many milliseconds or how many of his turns. A killed actor is followed by another one in the same part.
Called by: episode.py, season.py, the modules of worlds.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from case import Notes

import fastmp
from fastmp import _core

#: How much of the time that this process had a CPU somebody may go without progress; more is a hang.
HANG_SECONDS = 20.0
#: More than this is reported.
SLOW_SECONDS = 2.0
#: Between two looks.
TICK_SECONDS = 0.002
#: A tick counts for no more than this: what is longer was time without a CPU, for the others too.
TICK_AT_MOST = 0.02

BOARD_WORDS = 1 << 17

fork = fastmp.get_context("fork")


class Hang(AssertionError):
    """Somebody alive makes no progress."""


class Board(Notes):
    """Numbers that outlive the processes that write them; places are given out before a process starts."""

    def __init__(self, words: int = BOARD_WORDS) -> None:
        super().__init__(words)
        self._free = 0

    def take(self, count: int = 1) -> int:
        """The first of so many places."""
        self._free += count
        assert self._free <= BOARD_WORDS, "the board is full"
        return self._free - count


class Log:
    """What one process has done: `turns` is its progress, `begun` and `done` count what only it knows.

    `kept`, if it is not 0, is the first of what it has kept to send later, counted from 1.
    """

    def __init__(self, words: Any, place: int) -> None:
        self._words, self.place = words, place

    SIZE = 5

    def _get(self, index: int) -> int:
        number: int = self._words[self.place + index]
        return number

    def _set(self, index: int, value: int) -> None:
        self._words[self.place + index] = value

    turns = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    begun = property(lambda self: self._get(1), lambda self, value: self._set(1, value))
    done = property(lambda self: self._get(2), lambda self, value: self._set(2, value))
    pid = property(lambda self: self._get(3), lambda self, value: self._set(3, value))
    kept = property(lambda self: self._get(4), lambda self, value: self._set(4, value))


class Clock:
    """The time in which this process had a CPU, ticked wherever it waits."""

    def __init__(self) -> None:
        self.fair = 0.0
        self._last = time.monotonic()

    def tick(self) -> None:
        """Sleep a little."""
        time.sleep(TICK_SECONDS)
        now = time.monotonic()
        self.fair += min(now - self._last, TICK_AT_MOST)
        self._last = now

    def until(self, condition: Callable[[], Any], what: str) -> float:
        """Wait until it is true; how long that took."""
        start = self.fair
        while not condition():
            self.tick()
            if self.fair - start > HANG_SECONDS:
                raise Hang(what)
        return self.fair - start


@dataclass(frozen=True)
class Storm:
    """One passage of a fault point of so many kills, one of so many delays."""

    seed: int
    kill_every: int
    delay_every: int

    def begin(self, place: int) -> None:
        """In the process that is to be in it."""
        _core._fault_storm((self.seed + place) & (2**63 - 1), self.kill_every, self.delay_every)


def in_storm(storm: Storm, body: Callable[..., None], log: "Log", *args: Any) -> None:
    storm.begin(log.place)
    body(log, *args)


@dataclass
class Actor:
    """One part in a group, played by one process after the other."""

    group: "Group"
    number: int
    process: Any = None
    log: Any = None
    stopped: bool = False

    def start(self) -> None:
        self.log = self.group.new_log()
        storm = self.group.storm if self.group.context is fork else None
        body, args = self.group.body, (self.log, *self.group.args)
        if storm is not None:
            body, args = in_storm, (storm, body, *args)
        self.process = self.group.context.Process(target=body, args=args, name=f"{self.group.name} {self.number}")
        self.process.start()
        self.stopped = False

    def signal(self, number: int) -> None:
        """By its pidfd: never to a stranger."""
        with suppress(ProcessLookupError):
            self.process._popen._send_signal(number)

    def lives(self) -> bool:
        return self.process is not None and self.process.exitcode is None


@dataclass
class Group:
    """Actors of one kind. Together they must make progress while one of them can."""

    name: str
    body: Callable[..., None]
    count: int
    new_log: Callable[[], Log]
    args: tuple[Any, ...] = ()
    context: Any = fork
    #: Whether the plan may kill them, or stop them only.
    mortal: bool = True
    #: How much longer than others they are left alone before each step.
    pace: float = 1.0
    #: Where any fault point may kill: the seed, and how seldom.
    storm: "Storm | None" = None
    #: What is to be done when one of them was killed.
    mourn: Callable[[Log], None] | None = None
    actors: list[Actor] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    killed: int = 0
    turns: int = 0
    since: float = 0.0

    def __post_init__(self) -> None:
        take = self.new_log

        def noted() -> Log:
            self.logs.append(take())
            return self.logs[-1]

        self.new_log = noted
        self.actors = [Actor(self, number) for number in range(self.count)]

    def sum_of(self, name: str) -> int:
        return sum(getattr(log, name) for log in self.logs)


@dataclass(frozen=True)
class Step:
    """One step of the plan: after `ms` milliseconds, or `turns` turns of the actor, do `verb` to the actor."""

    verb: str
    group: int
    actor: int
    ms: float
    turns: int
    late: bool  # the dead one is not reaped before the next step

    def __str__(self) -> str:
        when = f"{self.turns} turns" if self.turns else f"{self.ms:.2f} ms"
        return f"{self.verb} {self.group}.{self.actor} after {when}{', reaped late' if self.late else ''}"


def draw_plan(draw: random.Random, groups: list[Group], kills: int) -> Iterator[Step]:
    """As many steps as it takes for so many kills."""
    parts = [(index, actor) for index, group in enumerate(groups) for actor in range(group.count)]
    while kills > 0:
        index, actor = draw.choice(parts)
        verb = draw.choices(("kill", "stop", "look"), (10, 1, 1))[0]
        if verb == "kill" and not groups[index].mortal:
            verb = "look"
        kills -= verb == "kill"
        ms = draw.choice((0.0, draw.expovariate(1 / 4), draw.uniform(0, 25)))
        pace = groups[index].pace
        turns = draw.choice((0, 0, draw.randint(1, max(2, int(40 / pace)))))
        yield Step(verb, index, actor, ms * pace, turns, draw.random() < 0.3)


class Director:
    """Carries the plan out, and watches who makes progress."""

    def __init__(self, groups: list[Group], clock: Clock) -> None:
        self.groups, self.clock = groups, clock
        self.unreaped: list[Actor] = []
        self.kills = self.stops = 0
        self.longest = 0.0
        self.now = "start"

    def start(self) -> None:
        for group in self.groups:
            for actor in group.actors:
                actor.start()
        self.forgive()

    def forgive(self) -> None:
        """All progress is counted from now on: somebody was stopped, or is new."""
        for group in self.groups:
            group.since = self.clock.fair

    def watch(self) -> None:
        """Called at each look: who does not get on, or has ended with an error?"""
        for group in self.groups:
            turns = group.sum_of("turns")
            nobody = all(actor in self.unreaped for actor in group.actors)
            if turns != group.turns or nobody:
                group.turns, group.since = turns, self.clock.fair
            self.longest = max(self.longest, self.clock.fair - group.since)
            if self.clock.fair - group.since > HANG_SECONDS:
                raise Hang(f"{group.name}: no progress for {HANG_SECONDS} s, {turns} turns, after {self.now}")
            for actor in group.actors:
                if actor in self.unreaped or actor.lives():
                    continue
                if group.storm is not None and actor.process.exitcode == -signal.SIGKILL:
                    self.note_killed(actor)
                else:
                    raise AssertionError(f"{actor.process.name} ended with {actor.process.exitcode}")

    def pause(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait, and watch."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            self.clock.tick()
            self.watch()

    def perform(self, step: Step) -> None:
        """One step of the plan."""
        self.now = str(step)
        actor = self.groups[step.group].actors[step.actor]
        if step.turns and actor.lives():
            wanted = actor.log.turns + step.turns
            self.pause(0.05 * actor.group.pace, lambda: actor.log.turns >= wanted)
        else:
            self.pause(step.ms / 1000)
        self.bury()
        if step.verb == "kill":
            self.kill(actor, step.late)
        elif step.verb == "stop":
            self.stop(actor, step.ms / 100 / actor.group.pace)

    def kill(self, actor: Actor, late: bool) -> None:
        if actor not in self.unreaped:  # by the storm, just now
            actor.process.kill()
            self.note_killed(actor)
        if not late:
            self.bury()

    def note_killed(self, actor: Actor) -> None:
        self.kills += 1
        actor.group.killed += 1
        self.unreaped.append(actor)

    def bury(self) -> None:
        """Reap the dead, and put others in their places."""
        for actor in self.unreaped:
            actor.process.join()
            code = actor.process.exitcode
            assert code in (-signal.SIGKILL, 0), f"{actor.process.name} ended with {code}"
            actor.process.close()
            if actor.group.mourn is not None:
                actor.group.mourn(actor.log)
            actor.start()
            actor.group.since = self.clock.fair
        self.unreaped.clear()

    def stop(self, actor: Actor, seconds: float) -> None:
        """As a debugger does, or a machine without a CPU for it: whatever it holds, it is not robbed."""
        self.stops += 1
        actor.signal(signal.SIGSTOP)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.clock.tick()
        actor.signal(signal.SIGCONT)
        self.forgive()

    def calm(self) -> None:
        """No storm any more; who was killed by one is buried."""
        for group in self.groups:
            group.storm = None
        _core._fault_calm()
        for _ in range(20):
            self.clock.tick()
        for group in self.groups:
            for actor in group.actors:
                if not actor.lives() and actor.process.exitcode == -signal.SIGKILL:
                    self.note_killed(actor)
        self.bury()

    def dismiss(self, group: Group) -> None:
        """Its actors have been told to end: they do."""
        for actor in group.actors:
            self.clock.until(lambda actor=actor: not actor.lives(), f"{actor.process.name} does not end")
            assert actor.process.exitcode == 0, f"{actor.process.name} ended with {actor.process.exitcode}"
            actor.process.close()


def is_gone(pid: int) -> bool:
    """Whether a process of this session has ended; a zombie has."""
    with suppress(OSError):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0] in "ZX" or int(fields[3]) != os.getsid(0)
    return True
