"""Pools, executors and other start methods under random kills: a worker takes one task along, a parent its workers."""

import os
import random
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar

from stage import HANG_SECONDS, Board, Clock, Director, Log, Storm, fork, is_gone
from world import World

import fastmp
from fastmp.concurrent.futures import ProcessPoolExecutor

#: Pids of workers that a keeper writes down.
WORKERS_NOTED = 64


def double(number: int, size: int = 0) -> tuple[int, bytes]:
    """A task."""
    time.sleep(0.0003)
    return 2 * number, bytes(size)


def double_item(number: int) -> int:
    return double(number)[0]


class Keepers(World):
    """Each keeper has workers and kills them, one a turn; keepers are killed as well, and their workers end then."""

    cost: ClassVar[float] = 3.0

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        self.seed = draw.randrange(1 << 30)
        self.storm: Storm | None = None
        self.keepers = self.group("keeper", self.keep, 1, mourn=self.mourn, pace=10.0)
        self.mourned: set[int] = set()  # workers with whom a task was lost
        self.orphans: list[int] = []

    def begin_storm(self, storm: Storm) -> None:
        """Its workers are in it, not the keeper, who says by whom they are to be killed."""
        self.storm = storm

    def new_log(self) -> Log:
        """Its pids of workers follow each log."""
        return Log(self.board, self.board.take(Log.SIZE + WORKERS_NOTED))

    def note_worker(self, log: Log) -> None:
        """In each worker, when it begins."""
        if self.storm is not None:
            self.storm.begin(os.getpid())
        for place in range(log.place + Log.SIZE, log.place + Log.SIZE + WORKERS_NOTED):
            if self.board[place] == 0 or is_gone(self.board[place]):
                self.board[place] = os.getpid()
                return

    def workers_of(self, log: Log) -> list[int]:
        first = log.place + Log.SIZE
        return [pid for pid in (self.board[first + i] for i in range(WORKERS_NOTED)) if pid]

    def mourn(self, log: Log) -> None:
        """Their keeper is dead: they end too."""
        self.orphans += self.workers_of(log)

    def keep(self, log: Log) -> None:
        raise NotImplementedError

    def mourn_worker(self, error: BaseException) -> None:
        """Each takes one task along, and says so."""
        assert isinstance(error, fastmp.WorkerDied), repr(error)
        assert error.signal == signal.SIGKILL, str(error)
        assert error.pid not in self.mourned, f"two tasks were lost with one worker: {error}"
        self.mourned.add(error.pid)

    def hurt(self, process: Any, log: Log, draw: random.Random) -> None:
        """Kill a worker, or stop it for a while."""
        time.sleep(draw.choice((0, draw.uniform(0, 0.01))))
        # One that has not begun does not end with its keeper yet, and would stay stopped when that is killed.
        if draw.random() < 0.15 and process.pid in self.workers_of(log):
            process._popen._send_signal(signal.SIGSTOP)
            time.sleep(draw.uniform(0, 0.06))
            process._popen._send_signal(signal.SIGCONT)
        else:
            process.kill()
            log.done += 1

    def check(self, clock: Clock) -> None:
        for pid in self.orphans:
            clock.until(lambda pid=pid: is_gone(pid), f"worker {pid} outlives its parent")

    def extra_kills(self) -> int:
        return self.keepers.sum_of("done")


class Pools(Keepers):
    """Tasks by every method of a Pool."""

    def keep(self, log: Log) -> None:
        draw = random.Random(f"{self.seed} {log.place}")
        with fork.Pool(draw.randint(1, 3), self.note_worker, (log,)) as pool:
            self.mourned = set()
            while not self.stopping:
                size = draw.choice((0, 3_000, 80_000))
                results = self.submit(pool, draw, size)
                self.hurt(draw.choice(list(pool._pool)), log, draw)
                for result in results:
                    self.look_at(result, size)
                log.turns += 1
            pool.close()
            self.end(pool)

    def submit(self, pool: Any, draw: random.Random, size: int) -> list[tuple[Any, Any]]:
        """Tasks, with what is expected."""
        if draw.random() < 0.3:
            numbers = range(draw.randint(1, 40))
            calls = [pool.map_async(double_item, numbers, 1 + draw.randrange(8)) for _ in range(3)]
            return [(call, [2 * number for number in numbers]) for call in calls]
        return [
            (pool.apply_async(double, (number, size)), (2 * number, bytes(size)))
            for number in range(draw.randint(1, 30))
        ]

    def look_at(self, result: tuple[Any, Any], size: int) -> None:
        call, expected = result
        try:
            assert call.get(HANG_SECONDS) == expected
        except fastmp.WorkerDied as error:
            self.mourn_worker(error)

    def end(self, pool: Any) -> None:
        pool.join()


class Streams(Pools):
    """imap and imap_unordered: what is not lost comes, in order."""

    def submit(self, pool: Any, draw: random.Random, size: int) -> list[tuple[Any, Any]]:
        method = draw.choice((pool.imap, pool.imap_unordered))
        numbers = range(draw.randint(1, 60))
        return [(method(double_item, iter(numbers)), len(numbers))]

    def look_at(self, result: tuple[Any, Any], size: int) -> None:
        stream, count = result
        found, lost = [], 0
        for _ in range(count):
            try:
                found.append(stream.next(HANG_SECONDS))
            except fastmp.WorkerDied as error:
                self.mourn_worker(error)
                lost += 1
        assert len(found) + lost == count
        assert len(set(found)) == len(found), "a result came twice"
        assert set(found) <= {2 * number for number in range(count)}


class Executors(Keepers):
    """The executor that fails the task of a dead worker, and the standard one, which breaks and is made anew."""

    def keep(self, log: Log) -> None:
        draw = random.Random(f"{self.seed} {log.place}")
        while not self.stopping:
            if draw.random() < 0.4:
                self.keep_lenient(log, draw)
            else:
                self.keep_standard(log, draw)

    def executor(self, draw: random.Random, log: Log, rule: str) -> Any:
        return ProcessPoolExecutor(draw.randint(1, 3), fork, self.note_worker, (log,), on_worker_death=rule)

    def keep_lenient(self, log: Log, draw: random.Random) -> None:
        self.mourned = set()
        with self.executor(draw, log, "fail-task") as executor:
            for _ in range(draw.randint(1, 8)):
                futures = [executor.submit(double, number) for number in range(draw.randint(1, 30))]
                self.hurt(draw.choice(list(executor._processes.values())), log, draw)
                for number, future in enumerate(futures):
                    error = future.exception(HANG_SECONDS)
                    if error is None:
                        assert future.result()[0] == 2 * number
                    else:
                        self.mourn_worker(error)
                log.turns += 1

    def keep_standard(self, log: Log, draw: random.Random) -> None:
        with self.executor(draw, log, "break") as executor:
            futures = []
            try:
                futures += [executor.submit(double, number) for number in range(draw.randint(1, 30))]
                self.hurt(draw.choice(list(executor._processes.values())), log, draw)
                futures += [executor.submit(double, number) for number in range(draw.randint(1, 10))]
            except BrokenProcessPool:
                pass
            for future in futures:
                error = future.exception(HANG_SECONDS)
                assert error is None or isinstance(error, BrokenProcessPool), repr(error)
            log.turns += 1


class Methods(World):
    """Processes by spawn and by the fork server, killed while they start or work; one process of fork beside them."""

    cost: ClassVar[float] = 12.0

    def __init__(self, draw: random.Random, board: Board) -> None:
        super().__init__(draw, board)
        method = draw.choice(("spawn", "forkserver"))
        self.method = method
        self.words = fastmp.RawArray("q", 4096)  # travels, as the board does not
        self._taken = 1
        self.queue, self.lock = fork.Queue(64), fork.Lock()
        context = fastmp.get_context(method)
        self.newcomers = self.group("newcomer", newcomer, 2, context=context, args=(self.words, self.queue, self.lock))
        self.readers = self.group("reader", self.read, 1)

    def describe(self) -> str:
        return self.method

    def new_log(self) -> Log:
        self._taken += Log.SIZE
        return Log(self.words, self._taken - Log.SIZE)

    def read(self, log: Log) -> None:
        while (message := self.queue.get()) is not None:
            assert message[1] == bytes(message[0] % 5_000)
            log.turns += 1

    def finish(self, director: Director) -> None:
        self.words[0] = 1
        director.dismiss(self.newcomers)
        self.queue.put(None)
        director.dismiss(self.readers)


def newcomer(log: Log, words: Any, queue: Any, lock: Any) -> None:
    """What a process that was not forked does."""
    number = 0
    import warnings

    warnings.simplefilter("ignore", fastmp.OwnerDied)
    while not words[0]:
        with lock:
            number += 1
        queue.put((number * 37, bytes(number * 37 % 5_000)))
        log.turns += 1
