"""One episode: one or more worlds, a plan, and a look at what is left. Called by: run.py, in a process of its own."""

import faulthandler
import gc
import json
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from case import blocks_in_use
from channel_worlds import Channel, Pairs, Pipe, Timeouts
from memory_worlds import Dicts, Travellers
from stage import Board, Clock, Director, Storm, draw_plan, fork, is_gone
from sync_worlds import Barriers, Changes, Conditions, Events, Locks, Semaphores
from worker_worlds import Executors, Methods, Pools, Streams
from world import World

from fastmp import _core

WORLDS: dict[str, type[World]] = {
    "queue": Channel,
    "pipe": Pipe,
    "timeout": Timeouts,
    "pair": Pairs,
    "lock": Locks,
    "semaphore": Semaphores,
    "condition": Conditions,
    "event": Events,
    "barrier": Barriers,
    "change": Changes,
    "dict": Dicts,
    "traveller": Travellers,
    "pool": Pools,
    "stream": Streams,
    "executor": Executors,
    "method": Methods,
}

#: Kills of one episode.
KILLS = 60


@dataclass
class Report:
    """What an episode, or many, have shown."""

    episodes: int = 0
    kills: int = 0
    stops: int = 0
    starts: int = 0
    turns: int = 0
    longest: float = 0.0
    error: str = ""
    plan: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        self.episodes += other.episodes
        self.kills += other.kills
        self.stops += other.stops
        self.starts += other.starts
        self.turns += other.turns
        self.longest = max(self.longest, other.longest)


def choose(draw: random.Random, names: list[str]) -> list[str]:
    """The worlds of an episode: mostly one, sometimes several side by side."""
    cheap = [name for name in names if WORLDS[name].cost == 1]
    if draw.random() < 0.15 and len(cheap) >= 3:
        return draw.sample(cheap, 3)
    weights = [1 / WORLDS[name].cost for name in names]
    return draw.choices(names, weights)


class Left:
    """What must be as it was."""

    def __init__(self) -> None:
        gc.collect()
        self.blocks = blocks_in_use()
        self.descriptors = len(os.listdir("/proc/self/fd"))

    def check(self, clock: Clock) -> None:
        def is_back() -> bool:
            gc.collect()
            if blocks_in_use() == self.blocks:
                return True
            child = fork.Process(target=int)  # orphans are looked after when a process starts or ends
            child.start()
            child.join()
            child.close()
            return False

        with suppress(AssertionError):
            clock.until(is_back, "")
        assert blocks_in_use() == self.blocks, f"blocks leaked: {blocks_in_use()}, before {self.blocks}"
        count = len(os.listdir("/proc/self/fd"))
        assert count <= self.descriptors, f"{count} descriptors, before {self.descriptors}"
        assert "/dev/shm/" not in Path("/proc/self/maps").read_text(), "something has a name in /dev/shm"


def play(names: list[str], seed: int, kills: int, storm: bool, report: Report) -> None:
    """An episode of these worlds, which its seed determines."""
    clock = Clock()
    fork.Lock()  # the region is there
    if "method" in names:  # so are the standard library's helpers
        resource_tracker.ensure_running()
        forkserver.ensure_running()
    left = Left()
    perform(names, seed, kills, storm, report, clock)
    left.check(clock)


def perform(names: list[str], seed: int, kills: int, storm: bool, report: Report, clock: Clock) -> None:
    """All objects end with this function."""
    draw, board = random.Random(seed), Board()
    worlds = [WORLDS[name](random.Random(draw.random()), board) for name in names]
    director = Director([group for world in worlds for group in world.groups], clock)
    kills = max(3, int(kills / max(world.cost for world in worlds)))
    report.plan = [world.describe() for world in worlds]
    report.plan += [f"{index}: {group.count} x {group.name}" for index, group in enumerate(director.groups)]
    if storm:
        os.close(_core._fault_record())  # its memory is all that is needed
        found = Storm(draw.getrandbits(40), draw.choice((100, 500, 3_000)), draw.choice((0, 30, 300)))
        report.plan.append(str(found))
        for world in worlds:
            world.begin_storm(found)
    director.start()
    for step in draw_plan(draw, director.groups, kills):
        report.plan.append(str(step))
        director.perform(step)
    director.bury()
    if storm:
        director.calm()
    report.plan.append("the end")
    for world in worlds:
        world.finish(director)
        world.check(clock)
    report.kills = director.kills + sum(world.extra_kills() for world in worlds)
    report.stops, report.longest = director.stops, director.longest
    report.starts = sum(len(group.logs) for group in director.groups)
    report.turns = sum(group.sum_of("turns") for group in director.groups)


def be_episode(write_end: int, errors: int, names: list[str], seed: int, kills: int, storm: bool) -> None:
    """The body of the episode's process."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(errors, 2)
    faulthandler.register(signal.SIGUSR1, file=errors)
    report = Report(episodes=1)
    try:
        play(names, seed, kills, storm, report)
        report.plan = []
    except BaseException:
        report.error = traceback.format_exc()
        tell_stacks()
    data: dict[str, Any] = asdict(report)
    os.write(write_end, json.dumps(data).encode())
    sys.stderr.flush()
    os._exit(0)


def state_of(pid: int) -> str:
    """What the kernel says of a process: its parent, state, system call."""
    found = []
    for name in ("stat", "wchan", "syscall"):
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/{name}").read_text().strip()[:80])
    return " | ".join(found)


def tell_stacks() -> None:
    """Each of the session says where he is, one after the other, and ends."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if not is_gone(pid):
            print(f"---- process {pid}: {state_of(pid)}", file=sys.stderr, flush=True)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGUSR1)
                time.sleep(0.05)
                if pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
