"""The parts of the long run: processes that use every kind of object until they are told to stop. Called by: run.py.

Each counts what it does in a number of its own. Messages have all sizes, workers and children are killed now and then,
objects are made and dropped all the time: whatever is not given back shows.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from case import Notes

import fastmp
from fastmp.concurrent.futures import ProcessPoolExecutor

fork = fastmp.get_context("fork")

SIZES = (8, 8, 8, 300, 3_000, 5_000, 70_000, 1_000_000)
#: So many messages wait in a queue at most.
ENOUGH = 60


def work(number: int, size: int) -> tuple[int, bytes]:
    """A task."""
    return number + 1, bytes(size)


class Parts:
    """The objects, and the functions that use them."""

    def __init__(self) -> None:
        self.queue = fork.Queue()
        self.reader, self.writer = fork.Pipe()
        self.lock, self.array = fork.RLock(), fork.Array("q", 1_000)
        self.table = fastmp.shared_dict()
        self.condition, self.state = fork.Condition(), fork.Value("q", 0)
        self.bodies: list[Callable[[Any], None]] = [
            self.put,
            self.get,
            self.ask,
            self.answer,
            self.lock_and_count,
            self.lock_and_count,
            self.use_dict,
            self.use_pool,
            self.use_executor,
            self.start_processes,
            self.make_and_drop,
        ]
        self.notes = Notes(len(self.bodies) + 1)

    def names(self) -> list[str]:
        return [body.__name__ for body in self.bodies]

    def start(self) -> list[Any]:
        """A process for each part."""
        started = []
        for number in range(len(self.bodies)):
            process = fork.Process(target=self.run, args=(number,), name=self.bodies[number].__name__)
            process.start()
            started.append(process)
        return started

    def stop(self) -> None:
        self.notes[len(self.bodies)] = 1

    @property
    def stopping(self) -> bool:
        return self.notes[len(self.bodies)] != 0

    def run(self, number: int) -> None:
        """In the part's process: its function again and again."""
        warnings.simplefilter("ignore", fastmp.OwnerDied)
        draw = random.Random(number)
        body = self.bodies[number]
        while not self.stopping:
            body(draw)
            self.notes[number] += 1

    # ---- one turn each ----

    def put(self, draw: random.Random) -> None:
        while self.queue.qsize() > ENOUGH and not self.stopping:
            time.sleep(0.001)
        self.queue.put((draw.random(), bytes(draw.choice(SIZES))))

    def get(self, draw: random.Random) -> None:
        if self.queue._poll(0.05):
            self.queue.get()

    def ask(self, draw: random.Random) -> None:
        self.writer.send(bytes(draw.choice(SIZES)))
        while not self.writer.poll(0.05):
            if self.stopping:
                return
        self.writer.recv()

    def answer(self, draw: random.Random) -> None:
        if self.reader.poll(0.05):
            self.reader.send(self.reader.recv())

    def lock_and_count(self, draw: random.Random) -> None:
        with self.lock:
            self.array[draw.randrange(1_000)] += 1
        with self.condition:
            self.state.value += 1
            self.condition.notify()
            self.condition.wait(0.01)

    def use_dict(self, draw: random.Random) -> None:
        key = draw.randrange(500)
        self.table[key] = bytes(draw.choice((8, 300, 3_000)))
        self.table.pop(draw.randrange(500), None)
        time.sleep(0.0005)

    def use_pool(self, draw: random.Random) -> None:
        with fork.Pool(2) as pool:
            for _ in range(40):
                calls = [pool.apply_async(work, (number, draw.choice(SIZES))) for number in range(20)]
                if draw.random() < 0.05:
                    draw.choice(list(pool._pool)).kill()
                for call in calls:
                    with suppress(fastmp.WorkerDied):
                        call.get(60)
        pool.join()

    def use_executor(self, draw: random.Random) -> None:
        with ProcessPoolExecutor(2, fork) as executor:
            for _ in range(40):
                for _ in executor.map(work, range(20), [draw.choice(SIZES)] * 20):
                    pass

    def start_processes(self, draw: random.Random) -> None:
        queue, lock = fork.SimpleQueue(), fork.Lock()
        child = fork.Process(target=self.be_child, args=(queue, lock))
        child.start()
        if draw.random() < 0.3:
            child.kill()
        child.join()
        child.close()

    def be_child(self, queue: Any, lock: Any) -> None:
        with lock:
            queue.put(bytes(9_000))
        queue.get()

    def make_and_drop(self, draw: random.Random) -> None:
        made = [fork.Lock(), fork.Queue(), fork.Value("i", 1), fork.Event(), fork.Barrier(2), fork.Pipe()]
        made += [fork.Array("d", draw.choice((10, 1_000, 100_000))), fastmp.shared_dict(a=1), fork.JoinableQueue()]
        for end in made[5]:
            end.close()
        time.sleep(0.0005)
