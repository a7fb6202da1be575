"""Locks and their kin under random kills: what they guard is whole, and everybody is woken."""

import random
import threading
import time
import warnings
from typing import Any

from stage import Board, Clock, Director, Log, fork
from world import World, kills_of

import fastmp

LAST = 999  # of the words that a lock guards: on another page than the first


class Warned:
    """Whether a lock has been taken over from the dead since the last question."""

    def __init__(self) -> None:
        self._count = 0
        warnings.simplefilter("always", fastmp.OwnerDied)
        warnings.showwarning = self._note  # type: ignore[assignment]

    def _note(self, _message: Any, category: type[Warning], *_args: Any, **_kwargs: Any) -> None:
        self._count += category is fastmp.OwnerDied

    def ask(self) -> bool:
        count, self._count = self._count, 0
        return count > 0


class Locks(World):
    """Two words are changed under a lock; who gets it from the dead is told so, and mends what is half done."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.kind = draw.choice(("Lock", "RLock", "Value's", "Condition's"))
        self.words = fork.Array("q", LAST + 1, lock=False)
        self.lock: Any = {
            "Lock": fork.Lock,
            "RLock": fork.RLock,
            "Value's": lambda: fork.Value("i", 0).get_lock(),
            "Condition's": fork.Condition,
        }[self.kind]()
        self.inside = board.take()
        self.users = self.group("user", self.use, draw.randint(2, 4))

    def describe(self) -> str:
        return f"{self.kind} lock, {self.users.count} users"

    def use(self, log: Log) -> None:
        warned = Warned()
        draw = random.Random(log.place)
        while not self.stopping:
            if not self.acquire(draw):
                log.turns += 1
                continue
            self.change(warned.ask(), log, draw)
            self.lock.release()
            log.turns += 1

    def acquire(self, draw: random.Random) -> bool:
        how = draw.randrange(8)
        if how == 0:
            return bool(self.lock.acquire(False))
        if how == 1:
            return bool(self.lock.acquire(timeout=0.001))
        return bool(self.lock.acquire())

    def change(self, died: bool, log: Log, draw: random.Random) -> None:
        """Called with the lock."""
        first, last = self.words[0], self.words[LAST]
        assert died or first == last, f"{first} and {last}: half changed, and no warning"
        assert died or self.board[self.inside] == 0, "two have the lock"
        assert first - last in (0, 1), f"{first} and {last}"
        self.board[self.inside] = log.place + 1
        self.words[LAST] = first  # mended
        self.words[0] = first + 1
        if draw.random() < 0.1:
            time.sleep(draw.choice((0, 0.0003)))
        assert self.board[self.inside] == log.place + 1, "two have the lock"
        self.words[LAST] = first + 1
        log.done += 1
        self.board[self.inside] = 0

    def check(self, clock: Clock) -> None:
        warned = Warned()
        assert self.lock.acquire(timeout=20), "the lock is dead"
        self.lock.release()
        warned.ask()
        extra = self.words[0] - self.users.sum_of("done")
        assert 0 <= extra <= kills_of(self.users), f"{extra} changes that nobody made"


class Semaphores(World):
    """Units are made and used; each killed user takes along one at most."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.semaphore = fork.Semaphore(0)
        self.makers = self.group("maker", self.make, draw.randint(1, 2))
        self.users = self.group("user", self.use, draw.randint(1, 3))

    def make(self, log: Log) -> None:
        while not self.stopping:
            log.turns += 1
            if self.semaphore.get_value() > 20:
                time.sleep(0.0005)
                continue
            log.begun += 1
            self.semaphore.release()
            log.done += 1

    def use(self, log: Log) -> None:
        draw = random.Random(log.place)
        while not self.stopping:
            if draw.random() < 0.2:
                log.done += bool(self.semaphore.acquire(timeout=0.002))
            else:
                self.semaphore.acquire()
                log.done += 1
            log.turns += 1

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.makers)
        for _ in range(self.users.count):
            self.semaphore.release()
        director.dismiss(self.users)

    def check(self, clock: Clock) -> None:
        left = 0
        while self.semaphore.acquire(block=False):
            left += 1
        made = self.makers.sum_of("done") + self.users.count
        lost = made - self.users.sum_of("done") - left
        assert -kills_of(self.makers) <= lost <= kills_of(self.users), f"{lost} units lost"


class Conditions(World):
    """A number changes under a condition; who watches sees each notice, or a later one."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.condition = fork.Condition(draw.choice((fork.Lock, fork.RLock))())
        self.state = board.take()
        self.changers = self.group("changer", self.change, draw.randint(1, 2))
        self.watchers = self.group("watcher", self.watch, draw.randint(1, 4))

    def change(self, log: Log) -> None:
        Warned()
        draw = random.Random(log.place)
        while not self.stopping:
            with self.condition:
                self.board[self.state] += 1
                if draw.random() < 0.5:
                    self.condition.notify(draw.randint(1, 2))
                else:
                    self.condition.notify_all()
            log.turns += 1
            time.sleep(draw.choice((0, 0, 0.0005)))

    def watch(self, log: Log) -> None:
        Warned()
        draw = random.Random(log.place)
        while not self.stopping:
            with self.condition:
                seen = self.board[self.state]
                while self.board[self.state] == seen and not self.stopping:
                    self.condition.wait(draw.choice((None, None, 0.003)))
            log.turns += 1

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.changers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with self.condition:
                self.condition.notify_all()
        director.dismiss(self.watchers)


class Events(World):
    """An event is set and cleared; who waits for it is woken."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.event = fork.Event()
        self.setters = self.group("setter", self.set, draw.randint(1, 2))
        self.waiters = self.group("waiter", self.wait, draw.randint(1, 3))

    def set(self, log: Log) -> None:
        draw = random.Random(log.place)
        while not self.stopping:
            self.event.set()
            time.sleep(draw.choice((0, 0.0005)))
            self.event.clear()
            log.turns += 1

    def wait(self, log: Log) -> None:
        while not self.stopping:
            self.event.wait()
            log.turns += 1

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.setters)
        self.event.set()
        director.dismiss(self.waiters)


class Barriers(World):
    """Parties meet; where one is killed the others' barrier breaks in time, and is mended."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.acted = board.take()
        self.barrier = fork.Barrier(3, self.act if draw.random() < 0.5 else None)
        self.parties = self.group("party", self.meet, 3)
        self.referee = self.group("referee", self.mend, 1, mortal=False)

    def act(self) -> None:
        self.board[self.acted] += 1

    def meet(self, log: Log) -> None:
        while not self.stopping:
            try:
                self.barrier.wait(0.1)
                log.done += 1
            except threading.BrokenBarrierError:
                time.sleep(0.001)
            log.turns += 1

    def mend(self, log: Log) -> None:
        while not self.stopping:
            if self.barrier.broken:
                self.barrier.reset()
            time.sleep(0.002)
            log.turns += 1

    def check(self, clock: Clock) -> None:
        self.barrier.reset()
        others = [fork.Process(target=self.barrier.wait, args=(20,)) for _ in range(2)]
        for other in others:
            other.start()
        self.barrier.wait(20)
        for other in others:
            other.join()
            assert other.exitcode == 0


class Changes(World):
    """Atomic values: each waits for the next change of a number, and tells of his own."""

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.value = fork.Value("q", 0)
        self.changers = self.group("changer", self.change, draw.randint(1, 2))
        self.waiters = self.group("waiter", self.wait, draw.randint(1, 3))

    def change(self, log: Log) -> None:
        draw = random.Random(log.place)
        while not self.stopping:
            self.value.fetch_add(1)
            log.done += 1
            self.value.notify(draw.choice((1, None)))
            log.turns += 1
            time.sleep(draw.choice((0, 0.0005)))

    def wait(self, log: Log) -> None:
        seen = self.value.load()
        while not self.stopping:
            self.value.wait(seen)
            seen = self.value.load()
            log.turns += 1

    def finish(self, director: Director) -> None:
        self.stop()
        director.dismiss(self.changers)
        self.last = self.value.load()
        self.value.fetch_add(1 << 40)
        self.value.notify(None)
        director.dismiss(self.waiters)

    def check(self, clock: Clock) -> None:
        extra = self.last - self.changers.sum_of("done")
        assert 0 <= extra <= kills_of(self.changers), f"{extra} changes that nobody made"
