"""`python -m benchmarks.manycore`: what a queue would do on more cores than this machine has, by simulation.

The cost of a message between cores is the cost of cache lines that change their owner, one at a time per line. So the
simulation knows lines, who has a copy of each, and what it takes to bring one over; the actors run the steps of
csrc/ring/ring.c on them, one access after the other, in the order of time. Compared are one ring for all, as it is
built; the same where who loses a cell waits a while, longer each time; and one ring per group of cores that share a
cache, where a consumer looks at the others' when its own is empty. docs/performance.md tells what follows from it.

The costs are those of common server processors and can be given; all in nanoseconds.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

CORES = (2, 4, 8, 16, 32, 64, 128)
CELLS = 1024
FIRST_PAUSE, LONGEST_PAUSE = 50.0, 12_800.0
PATIENCE = 8  # looks at an empty ring before those of others
EMPTY, CLAIMED, FULL, TAKEN = range(4)


@dataclass(frozen=True)
class Machine:
    """Cores in groups that share a cache, groups on sockets; what a line costs to fetch from each distance."""

    group: int = 8
    socket: int = 64
    own: float = 1
    near: float = 25
    across: float = 90
    far: float = 200
    work: float = 100  # of Python and of encoding, for each message on each side

    def fetch(self, core: int, other: int) -> float:
        """Return what it costs a core to get a line that another one has."""
        if core == other:
            return self.own
        if core // self.group == other // self.group:
            return self.near
        return self.across if core // self.socket == other // self.socket else self.far


@dataclass
class Line:
    """A cache line with one word that matters: its value, its copies, and until when it is on its way to somebody."""

    value: int = 0
    copies: set[int] = field(default_factory=lambda: {0})
    free: float = 0

    def access(self, machine: Machine, core: int, now: float, write: bool) -> float:
        """Bring the line to a core, for it alone if it writes; return when it is there.

        Readers are served side by side, each by the nearest copy; writers one after the other, once the farthest copy
        is gone.
        """
        if core in self.copies and (not write or len(self.copies) == 1):
            return now + machine.own
        distances = [machine.fetch(core, other) for other in self.copies]
        if not write:
            self.copies.add(core)
            return max(now, self.free) + min(distances)
        self.copies = {core}
        self.free = max(now, self.free) + max(distances)
        return self.free


Access = tuple[Line, bool]  # the line, and whether it is written
Step = Access | float  # or time that passes
Steps = Generator[Step, None, bool]


class Ring:
    """A bounded ring: the words of csrc/ring/ring.h on lines of their own."""

    def __init__(self, pause: float) -> None:
        self.pause = pause  # at most so long after losing a cell; 0: none
        self.tail, self.head = Line(), Line()
        self.cells = [Line(EMPTY) for _ in range(CELLS)]

    def help(self, end: Line, position: int) -> Steps:
        """Move the head or the tail past a position, unless another core has."""
        yield end, False
        if end.value == position:
            yield end, True
            end.value = max(end.value, position + 1)
        return True

    def claim(self, end: Line, before: int, after: int) -> Generator[Step, None, Line | None]:
        """Take the cell at the head or tail from one phase to the next; None if it is in neither."""
        pause = min(FIRST_PAUSE, self.pause)
        while True:
            yield end, False
            position = end.value
            cell = self.cells[position % CELLS]
            yield cell, False
            if cell.value == before:
                yield cell, True
                if cell.value == before and end.value == position:
                    cell.value = after
                    yield from self.help(end, position)
                    return cell
                yield pause * random.random()
                pause = min(2 * pause, self.pause)
            elif cell.value == after or end.value != position:
                yield from self.help(end, position)
            else:
                return None

    def push(self) -> Steps:
        """Put a message; False if there is no room."""
        cell = yield from self.claim(self.tail, EMPTY, CLAIMED)
        if cell is not None:
            yield cell, True
            cell.value = FULL
        return cell is not None

    def pop(self) -> Steps:
        """Take a message; False if there is none."""
        cell = yield from self.claim(self.head, FULL, TAKEN)
        if cell is not None:
            yield cell, True
            cell.value = EMPTY
        return cell is not None


@dataclass
class Counts:
    """Messages that have gone in and come out."""

    put: int = 0
    got: int = 0


def producer(ring: Ring, counts: Counts, work: float) -> Iterator[Step]:
    """Put for ever; a number that is yielded is time that passes."""
    while True:
        yield work
        if (yield from ring.push()):  # type: ignore[misc]
            counts.put += 1


def consumer(rings: Sequence[Ring], counts: Counts, work: float) -> Iterator[Step]:
    """Take for ever from the first ring; one that has found it empty several times looks at the others once."""
    empty = 0
    while True:
        for ring in rings if empty == PATIENCE else rings[:1]:
            if (yield from ring.pop()):  # type: ignore[misc]
                counts.got += 1
                empty = 0
                break
        else:
            empty = empty % PATIENCE + 1
        yield work


def simulate(machine: Machine, cores: int, nanoseconds: float, shards: int = 1, pause: float = 0) -> Counts:
    """Run as many producers as consumers, on neighbouring cores, for so long."""
    random.seed(cores)
    rings, counts = [Ring(pause) for _ in range(shards)], Counts()
    events: list[tuple[float, int, Iterator[Step]]] = []
    for core in range(cores):
        home = core * shards // cores
        order = [*rings[home:], *rings[:home]]
        actor = consumer(order, counts, machine.work) if core % 2 else producer(rings[home], counts, machine.work)
        heapq.heappush(events, (core * 0.1, core, actor))
    while events[0][0] < nanoseconds:
        now, core, actor = heapq.heappop(events)
        step = next(actor)
        then = now + step if isinstance(step, float | int) else step[0].access(machine, core, now, step[1])
        heapq.heappush(events, (then, core, actor))
    return counts


def table(machine: Machine, cores: Sequence[int], microseconds: float) -> Iterator[str]:
    """Yield the lines of a Markdown table: millions of messages per second."""
    yield "| cores | one ring | losers wait | a ring per group |"
    yield "| ---: | ---: | ---: | ---: |"
    for count in cores:
        designs = ({}, {"pause": LONGEST_PAUSE}, {"pause": LONGEST_PAUSE, "shards": max(1, count // machine.group)})
        rates = (simulate(machine, count, microseconds * 1e3, **design).got / microseconds for design in designs)
        yield f"| {count} | {' | '.join(f'{rate:.1f} M/s' for rate in rates)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.manycore", description=__doc__)
    for name, value in Machine().__dict__.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--microseconds", type=float, default=200, help="how long to simulate")
    options = vars(parser.parse_args(arguments))
    microseconds = options.pop("microseconds")
    print("\n".join(table(Machine(**options), CORES, microseconds)))


if __name__ == "__main__":
    main()
