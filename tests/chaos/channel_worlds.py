"""Queues and pipes under random kills: nothing twice, in order, and no more lost than the dead had in hand."""

import mmap
import random
import time
from functools import partial
from queue import Empty, Full
from typing import Any

from stage import Board, Clock, Director, Log, fork, is_gone
from world import World, kills_of

#: Messages of one producer.
MOST = 1 << 13
#: Producers, one after the other.
PRODUCERS = 4096
#: An unbounded queue that holds so many is not put to: nothing overflows but where a consumer is stopped in the middle.
ENOUGH = 150
ROW = 4

KINDS = {
    "Queue": fork.Queue,
    "Queue(3)": partial(fork.Queue, 3),
    "Queue(40)": partial(fork.Queue, 40),
    "SimpleQueue": fork.SimpleQueue,
    "JoinableQueue": fork.JoinableQueue,
}
UNBOUNDED = ("Queue", "JoinableQueue")
SIZES = ((8,), (8, 3_000), (5_000, 70_000), (8, 300, 5_000, 400_000))


class Stop:
    """The message after which a consumer ends."""


def payload(number: int, sizes: tuple[int, ...]) -> bytes:
    return bytes([number % 251]) * sizes[number % len(sizes)]


class Marks:
    """For each message of each producer: how often it has arrived. In memory of its own."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MOST * PRODUCERS)

    def add(self, who: int, number: int) -> None:
        self._memory[who * MOST + number] += 1

    def of(self, who: int, count: int) -> bytes:
        return self._memory[who * MOST : who * MOST + count]


class Channel(World):
    """Producers and consumers on one queue or pipe."""

    batches = trees = False

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.sizes = draw.choice(SIZES)
        self.marks = Marks()
        self.open()
        body = self.produce_with_child if self.trees else self.produce
        self.children: list[Log] = []
        self.producers = self.group("producer", body, draw.randint(1, 3))
        self.consumers = self.group("consumer", self.consume, draw.randint(1, 3))
        self.names: dict[int, int] = {}  # place of a log: number of the producer

    def open(self) -> None:
        self.kind = self.draw.choice(list(KINDS))
        self.queue = KINDS[self.kind]()
        self.batches = self.kind in ("Queue", "Queue(40)") and self.draw.random() < 0.4
        self.trees = self.draw.random() < 0.25

    def describe(self) -> str:
        how = ("batches ", "")[not self.batches] + ("children of children ", "")[not self.trees]
        return f"{self.kind} {how}{self.sizes}, {self.producers.count} producers, {self.consumers.count} consumers"

    # ---- the ends ----

    def put(self, message: Any) -> None:
        self.queue.put(message)

    def get(self) -> Any:
        return self.queue.get()

    def is_full_enough(self) -> bool:
        return self.kind != "SimpleQueue" and self.queue.qsize() > ENOUGH

    def is_empty(self) -> bool:
        return bool(self.queue.empty())

    # ---- producers ----

    def new_log(self) -> Log:
        """Two in a row: the second is a child's, where producers have children."""
        place = self.board.take(2 * Log.SIZE)
        log, child = Log(self.board, place), Log(self.board, place + Log.SIZE)
        self.children.append(child)
        return log

    def name_of(self, log: Log) -> int:
        """The number of a producer, known in every process: logs are taken in order."""
        first = self.producers.logs[0].place
        return (log.place - first) // Log.SIZE

    def produce_with_child(self, log: Log) -> None:
        child_log = Log(self.board, log.place + Log.SIZE)

        def produce_as_child() -> None:
            import os

            child_log.pid = os.getpid()
            self.produce(child_log)

        child = fork.Process(target=produce_as_child)
        child.start()
        self.produce(log)
        child.join()
        assert child.exitcode == 0

    def produce(self, log: Log) -> None:
        who, number = self.name_of(log), 0
        while not self.stopping:
            if number + ROW > MOST or self.is_full_enough():
                time.sleep(0.001)
                log.turns += 1
                continue
            count = 1 + number % ROW if self.batches else 1
            log.begun = number + count
            row = [(who, n, payload(n, self.sizes)) for n in range(number, number + count)]
            if self.batches:
                self.queue.put_many(row)
            else:
                self.put(row[0])
            if log.kept == 0 and self.kind in UNBOUNDED and self.queue._feeding:
                log.kept = number + 1
            number += count
            log.done = number
            log.turns += 1

    # ---- consumers ----

    def consume(self, log: Log) -> None:
        last: dict[int, int] = {}
        stops = 0
        while not stops:
            for message in self.queue.get_many(ROW) if self.batches else (self.get(),):
                if isinstance(message, Stop):
                    stops += 1
                    continue
                self.note(message, last)
                log.turns += 1
        for _ in range(stops - 1):  # those of others
            self.put(Stop())

    def note(self, message: Any, last: dict[int, int]) -> None:
        who, number, data = message
        self.marks.add(who, number)
        assert data == payload(number, self.sizes), f"message {number} of {who} is damaged"
        assert number > last.get(who, -1), f"message {number} of {who} after {last[who]}"
        last[who] = number
        if self.kind == "JoinableQueue":
            self.queue.task_done()

    # ---- the end ----

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.producers)
        for child in self.children:
            if child.pid:
                director.clock.until(lambda child=child: is_gone(child.pid), f"orphan {child.pid} does not end")
        for _ in range(self.consumers.count):
            self.put(Stop())
        director.dismiss(self.consumers)

    def check(self, clock: Clock) -> None:
        clock.until(self.is_empty, "the queue is never empty")
        in_hand = ROW if self.batches else 1
        lost = 0
        for log in (*self.producers.logs, *self.children):
            marks = self.marks.of(self.name_of(log), MOST) if log.begun else b""
            assert not marks or max(marks) <= 1, f"message {marks.index(max(marks))} arrived twice"
            assert not any(marks[log.begun :]), "a message arrived that nobody sent"
            sent = min(log.done, log.kept - 1) if log.kept else log.done  # what it kept ended with it
            lost += marks[:sent].count(0)
        allowed = in_hand * kills_of(self.consumers)
        assert lost <= allowed, f"{lost} messages lost, {kills_of(self.consumers)} consumers killed"
        self.put(b"works")
        assert self.get() == b"works"
        if self.kind == "JoinableQueue":
            self.check_join(1 + kills_of(self.consumers, self.producers) * 2)

    def check_join(self, at_most: int) -> None:
        """What was lost, or killed before `task_done`, is unfinished; nothing else is."""
        for _ in range(at_most + 1):
            try:
                self.queue.task_done()
            except ValueError:
                break
        else:
            raise AssertionError(f"more than {at_most} messages are unfinished")
        self.queue.join()


class Pipe(Channel):
    """Several senders and receivers share the ends of one pipe."""

    def open(self) -> None:
        self.kind = self.draw.choice(("Pipe(False)", "Pipe(True)"))
        self.reader, self.writer = fork.Pipe(self.kind == "Pipe(True)")

    def put(self, message: Any) -> None:
        self.writer.send(message)

    def get(self) -> Any:
        if self.draw.random() < 0.1:
            self.reader.poll(0.01)
        return self.reader.recv()

    def is_full_enough(self) -> bool:
        return False

    def is_empty(self) -> bool:
        return not self.reader.poll(0)

    def check(self, clock: Clock) -> None:
        super().check(clock)
        self.reader.close()
        self.writer.close()


class Timeouts(Channel):
    """All that waits gives up now and then, and tries again."""

    def open(self) -> None:
        self.kind = "Queue(3)"
        self.queue = fork.Queue(3)

    def put(self, message: Any) -> None:
        while True:
            try:
                self.queue.put(message, timeout=0.002)
                return
            except Full:
                pass

    def get(self) -> Any:
        while True:
            try:
                return self.queue.get(timeout=0.002)
            except Empty:
                pass


class Pairs(World):
    """Each keeper talks to a child over a pipe, kills it, and is told; keepers are killed too: so is the child."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.seed = draw.randrange(1 << 30)
        self.keepers = self.group("keeper", self.keep, 2, pace=4.0)

    def keep(self, log: Log) -> None:
        draw = random.Random(f"{self.seed} {log.place}")
        while not self.stopping:
            mine, other = fork.Pipe(draw.random() < 0.7)
            if not mine.writable:
                mine, other = other, mine
            child = fork.Process(target=self.answer, args=(other, mine))
            child.start()
            other.close()
            self.talk(mine, child, log, draw)
            child.join()
            mine.close()
            log.turns += 1

    def answer(self, end: Any, other: Any) -> None:
        other.close()
        try:
            while True:
                message = end.recv()
                if end.writable:
                    end.send(message)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass

    def talk(self, end: Any, child: Any, log: Log, draw: random.Random) -> None:
        """Until the child is dead, which this process kills in the middle."""
        left, size = draw.randint(0, 30), draw.choice((8, 5_000, 300_000))
        try:
            while True:
                if left == 0:
                    child.kill()
                    log.done += 1
                left -= 1
                end.send(bytes(size))
                if end.readable:
                    end.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            assert left < 0, "the child is gone"

    def extra_kills(self) -> int:
        return self.keepers.sum_of("done")
