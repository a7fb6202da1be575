"""What programs make of multiprocessing's classes: the patterns that are passed on from one to the next."""
# /// script
# dependencies = []
# [tool.client]
# title = "subclasses of Process, Pool, Queue, contexts, managers"
# quick = true
# ///

import functools
import logging
import logging.handlers
import multiprocessing
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.queues
import os
import queue
import signal
import threading
import traceback
from multiprocessing.process import BaseProcess


class RaisingProcess(multiprocessing.Process):
    """Hands its exception to the parent through a pipe."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._parent_end, self._child_end = multiprocessing.Pipe()
        self._exception = None

    def run(self):
        try:
            super().run()
            self._child_end.send(None)
        except Exception as error:
            self._child_end.send((error, traceback.format_exc()))

    @property
    def exception(self):
        if self._parent_end.poll():
            self._exception = self._parent_end.recv()
        return self._exception


class SharedCounter:
    def __init__(self, n=0):
        self.count = multiprocessing.Value("i", n)

    def increment(self, n=1):
        with self.count.get_lock():
            self.count.value += n

    @property
    def value(self):
        return self.count.value


class CountingQueue(multiprocessing.queues.Queue):
    """A queue with a size that every system can tell."""

    def __init__(self, *args, **options):
        super().__init__(*args, ctx=multiprocessing.get_context(), **options)
        self.size = SharedCounter(0)

    def put(self, *args, **options):
        super().put(*args, **options)
        self.size.increment(1)

    def get(self, *args, **options):
        item = super().get(*args, **options)
        self.size.increment(-1)
        return item

    def qsize(self):
        return self.size.value

    def empty(self):
        return not self.qsize()

    def clear(self):
        while not self.empty():
            self.get()


class NoDaemonProcess(multiprocessing.Process):
    @property
    def daemon(self):
        return False

    @daemon.setter
    def daemon(self, value):
        pass


class NoDaemonContext(type(multiprocessing.get_context("fork"))):
    Process = NoDaemonProcess


class NestablePool(multiprocessing.pool.Pool):
    def __init__(self, *args, **options):
        options["context"] = NoDaemonContext()
        super().__init__(*args, **options)


class LoggedPool(multiprocessing.pool.Pool):
    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):  # noqa: B006
        return super().apply_async(Logged(func), args, kwds, callback, error_callback)


class Logged:
    def __init__(self, func):
        self.func = func

    def __call__(self, *args, **options):
        try:
            return self.func(*args, **options)
        except Exception:
            multiprocessing.get_logger().error(traceback.format_exc())
            raise


class Consumer(multiprocessing.Process):
    def __init__(self, tasks, results):
        multiprocessing.Process.__init__(self)
        self.tasks, self.results = tasks, results

    def run(self):
        while (task := self.tasks.get()) is not None:
            self.results.put(task())
            self.tasks.task_done()
        self.tasks.task_done()


class Maths:
    def __init__(self):
        self.calls = 0

    def add(self, x, y):
        self.calls += 1
        return x + y

    def count(self):
        return self.calls


class MathsManager(multiprocessing.managers.BaseManager):
    pass


class LifoManager(multiprocessing.managers.SyncManager):
    pass


MathsManager.register("Maths", Maths)
LifoManager.register("LifoQueue", queue.LifoQueue, exposed=("put", "get", "qsize"))


class StoppableProcess(multiprocessing.Process):
    def __init__(self):
        super().__init__(daemon=True)
        self.stop_event = multiprocessing.Event()
        self.ready = multiprocessing.Event()

    def run(self):
        self.ready.set()
        while not self.stop_event.wait(0.01):
            pass

    def stop(self):
        self.stop_event.set()


def fail(text):
    raise ValueError(text)


def square(x):
    return x * x


def nested(n):
    with multiprocessing.Pool(2) as pool:
        return pool.map(square, range(n))


def put_many(q, n):
    for i in range(n):
        q.put(i)


def log_from(q):
    logger = logging.getLogger("worker")
    logger.addHandler(logging.handlers.QueueHandler(q))
    logger.warning("from %s", "a worker")
    logger.handlers.clear()


def wait_for_signal(ready):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    ready.set()
    threading.Event().wait(60)


def processes():
    for target, args in ((fail, ("in a child",)), (square, (2,))):
        process = RaisingProcess(target=target, args=args)
        process.start()
        process.join()
        print(process.exitcode, process.exception and repr(process.exception[0]))
    process = StoppableProcess()
    process.start()
    process.ready.wait()
    process.stop()
    process.join()
    print(process.exitcode, isinstance(process, BaseProcess))
    ready = multiprocessing.Event()
    process = multiprocessing.Process(target=wait_for_signal, args=(ready,))
    process.start()
    ready.wait()
    process.terminate()
    process.join()
    print(process.exitcode)


def queues():
    q = CountingQueue()
    process = multiprocessing.Process(target=put_many, args=(q, 10))
    process.start()
    process.join()
    print(q.qsize(), q.get(), q.qsize(), isinstance(q, multiprocessing.queues.Queue))
    q.clear()
    print(q.empty())
    tasks, results = multiprocessing.JoinableQueue(), multiprocessing.Queue()
    consumers = [Consumer(tasks, results) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for n in range(10):
        tasks.put(functools.partial(square, n))
    for _ in consumers:
        tasks.put(None)
    tasks.join()
    print(sorted(results.get() for _ in range(10)))
    for consumer in consumers:
        consumer.join()
    log = multiprocessing.Queue()
    records = []
    listener = logging.handlers.QueueListener(
        log, type("Keep", (logging.Handler,), {"emit": lambda _, r: records.append(r)})()
    )
    listener.start()
    process = multiprocessing.Process(target=log_from, args=(log,))
    process.start()
    process.join()
    listener.stop()
    print([record.getMessage() for record in records])


def pools():
    with NestablePool(2) as pool:
        print(pool.map(nested, [2, 3, 4]), isinstance(pool, multiprocessing.pool.Pool))
        pool.close()
        pool.join()
    with LoggedPool(2) as pool:
        results = [pool.apply_async(square, (n,)) for n in range(4)]
        print([result.get(60) for result in results], isinstance(results[0], multiprocessing.pool.AsyncResult))
        print(
            type(pool.imap(square, [1])).__name__,
            isinstance(pool.map_async(square, [1]), multiprocessing.pool.MapResult),
        )
        done, failed = threading.Event(), []
        pool.apply_async(fail, ("x",), error_callback=lambda error: (failed.append(repr(error)), done.set()))
        done.wait(60)
        print(failed)


def managers():
    with MathsManager() as manager:
        maths = manager.Maths()
        print(maths.add(4, 3), maths.add(7, 8), maths.count())
    with LifoManager() as manager:
        q = manager.LifoQueue()
        for n in range(3):
            q.put(n)
        print([q.get() for _ in range(3)])
        names, lock = manager.dict(), manager.Lock()
        with multiprocessing.Pool(2) as pool:
            pool.starmap(enter, [(names, lock, n) for n in range(6)])
        print(sorted(names.items()), manager.list([1, 2])[1], manager.Namespace(x=1).x, manager.Value("i", 3).value)


def enter(names, lock, n):
    with lock:
        names[n % 2] = names.get(n % 2, 0) + n


if __name__ == "__main__":
    for part in (processes, queues, pools, managers):
        part()
    print(multiprocessing.active_children())
