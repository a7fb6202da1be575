"""What libraries do with executors: subclasses, futures of their own, wait and as_completed over both kinds."""
# /// script
# dependencies = []
# [tool.client]
# title = "executors: subclasses, wait, as_completed, callbacks"
# quick = true
# ///

import concurrent.futures
import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool


class CountingExecutor(ProcessPoolExecutor):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.submitted = 0

    def submit(self, fn, /, *args, **options):
        self.submitted += 1
        return super().submit(fn, *args, **options)


class BoundedExecutor:
    """No more calls under way than so many."""

    def __init__(self, executor, bound):
        self.executor, self.semaphore = executor, threading.BoundedSemaphore(bound)

    def submit(self, fn, *args):
        self.semaphore.acquire()
        future = self.executor.submit(fn, *args)
        future.add_done_callback(lambda _: self.semaphore.release())
        return future


def square(x):
    return x * x


def fail(x):
    raise LookupError(x)


state = None


def remember(x):
    global state
    state = x


def recall(_):
    return state


def main():
    with CountingExecutor(2) as executor:
        print(list(executor.map(square, range(20), chunksize=3)), executor.submitted)
        futures = [executor.submit(square, n) for n in range(20)]
        print(sorted(future.result() for future in concurrent.futures.as_completed(futures)))
        with ThreadPoolExecutor(2) as threads:
            mixed = [executor.submit(square, 5), threads.submit(square, 6)]
            done, not_done = concurrent.futures.wait(mixed, timeout=60)
            print(sorted(future.result() for future in done), len(not_done))
        done, _ = concurrent.futures.wait([executor.submit(fail, 1), executor.submit(square, 1)], 60, FIRST_EXCEPTION)
        print(any(future.exception() for future in done))
        done, _ = concurrent.futures.wait([executor.submit(square, 1)], 60, FIRST_COMPLETED)
        print(len(done), all(isinstance(future, Future) for future in done))
        bounded = BoundedExecutor(executor, 3)
        print([future.result() for future in [bounded.submit(square, n) for n in range(30)]][-1])
        called = []
        future = executor.submit(square, 9)
        future.add_done_callback(lambda f: called.append(f.result()))
        future.result()
        executor.shutdown()
        print(called)
    with ProcessPoolExecutor(2, initializer=remember, initargs=("set",), max_tasks_per_child=None) as executor:
        print(set(executor.map(recall, range(10))))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        try:
            executor.submit(os._exit, 1).result()
        except BrokenProcessPool as error:
            print(type(error).__name__)
    executor = ProcessPoolExecutor(2)
    first = executor.submit(square, 3)
    executor.shutdown(wait=False, cancel_futures=False)
    print(first.result())


if __name__ == "__main__":
    main()
