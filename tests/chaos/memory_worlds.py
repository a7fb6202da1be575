"""What lives in shared memory under random kills: dicts, arrays, and objects on their way in messages."""

import pickle
import random
import time
from typing import Any

from stage import Board, Clock, Director, Log, fork
from world import World, kills_of

import fastmp


class Dicts(World):
    """All change one shared dict: each finds what it wrote, and whole values of the others."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.table = fastmp.shared_dict()
        self.size = draw.choice((8, 200, 3_000))
        self.users = self.group("user", self.use, draw.randint(2, 4))

    def describe(self) -> str:
        return f"shared_dict, values of {self.size} bytes, {self.users.count} users"

    def use(self, log: Log) -> None:
        draw = random.Random(log.place)
        mine = f"own {log.place}"
        while not self.stopping:
            log.begun += 1
            self.table[mine] = (log.begun, bytes([log.begun % 251]) * self.size)
            log.done = log.begun
            assert self.table[mine][0] == log.done
            self.use_common(draw)
            log.turns += 1
            time.sleep(draw.choice((0, 0, 0.0003)))

    def use_common(self, draw: random.Random) -> None:
        key, number = draw.randrange(40), draw.randrange(251)
        what = draw.randrange(10)
        if what < 4:
            self.table[key] = (number, bytes([number]) * self.size)
        elif what < 6:
            self.table.pop(key, None)
        elif what == 6:
            self.table.update({n: (number, bytes([number]) * self.size) for n in range(key, key + 3)})
        elif what == 7:
            for value in self.table.copy().values():
                self.check_whole(value)
        else:
            self.check_whole(self.table.get(key, (0, bytes(self.size))))

    def check_whole(self, value: tuple[int, bytes]) -> None:
        assert value[1] == bytes([value[0] % 251]) * self.size, f"a damaged value of {value[0]}"

    def check(self, clock: Clock) -> None:
        for log in self.users.logs:
            number, _ = self.table.get(f"own {log.place}", (0, b""))
            assert number in (log.done, log.begun), f"{number} is there, {log.done} was written"
        items = self.table.copy()
        assert len(self.table) == len(items) == len(list(self.table))
        for value in items.values():
            self.check_whole(value)


class Buffer:
    """Travels out of band: the receiver's is a view on the block."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> Any:
        return Buffer, (pickle.PickleBuffer(self.data),)


class Travellers(World):
    """Locks, arrays, queues and buffers travel in messages, are used and dropped: what the dead held is free again."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.queue = fork.Queue(16)
        self.senders = self.group("sender", self.send, draw.randint(1, 2))
        self.receivers = self.group("receiver", self.receive, draw.randint(1, 2))

    def make(self, draw: random.Random, number: int) -> Any:
        kind = draw.randrange(6)
        if kind == 0:
            return fork.Array("q", [number] * draw.choice((10, 2_000, 40_000)))
        if kind == 1:
            return fork.Lock()
        if kind == 2:
            return fork.Value("q", number)
        if kind == 3:
            inner = fork.SimpleQueue()
            inner.put((number, bytes(draw.choice((10, 9_000)))))
            return inner
        if kind == 4:
            return fastmp.shared_dict(number=number)
        return Buffer(bytearray(draw.choice((100, 50_000, 2_000_000))))

    def send(self, log: Log) -> None:
        draw = random.Random(log.place)
        number = 0
        kept: list[Any] = []
        while not self.stopping:
            thing = self.make(draw, number)
            self.queue.put((number, thing))
            kept = [thing, *kept[:2]]
            number += 1
            log.turns += 1

    def receive(self, log: Log) -> None:
        kept: list[Any] = []
        while (message := self.queue.get()) is not None:
            number, thing = message
            self.use(thing, number)
            kept = [thing, *kept[:3]]
            log.turns += 1

    def use(self, thing: Any, number: int) -> None:
        name = type(thing).__name__
        if name in ("SynchronizedArray", "Synchronized"):
            with thing.get_lock():
                assert (thing[-1] if name == "SynchronizedArray" else thing.value) == number
        elif name == "Lock":
            with thing:
                pass
        elif name == "SimpleQueue":
            assert thing.get()[0] == number
        elif name == "SharedDict":
            assert thing["number"] == number
        else:
            assert not any(bytes(thing.data[:100]))

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.senders)
        for _ in range(self.receivers.count):
            self.queue.put(None)
        director.dismiss(self.receivers)

    def check(self, clock: Clock) -> None:
        while not self.queue.empty():  # what came behind the last word
            self.queue.get()
        assert kills_of(*self.groups) >= 0
