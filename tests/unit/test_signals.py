"""A signal ends every wait with its exception, also if it did not interrupt the sleep: another thread got it."""

import signal
import threading
import time

import pytest

import fastmp


class Alarm(Exception):
    pass


@pytest.fixture
def alarm_elsewhere():
    """Calls a wait while SIGUSR1 comes to a thread that does not wait. Its handler runs in the main thread."""
    begin, stop = threading.Event(), threading.Event()

    def handler(_number, _frame):
        if not stop.is_set():
            stop.set()
            raise Alarm

    before = signal.signal(signal.SIGUSR1, handler)

    def send():
        begin.wait()
        time.sleep(0.1)
        while not stop.is_set():
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            stop.wait(5)

    thread = threading.Thread(target=send)
    thread.start()

    def during(wait, *args):
        begin.set()
        wait(*args)

    yield during
    stop.set()
    begin.set()
    thread.join()
    signal.signal(signal.SIGUSR1, before)


def held(lock):
    lock.acquire()
    return lock


WAITS = {
    "lock": lambda: held(fastmp.Lock()).acquire(),
    "semaphore": lambda: fastmp.Semaphore(0).acquire(),
    "event": lambda: fastmp.Event().wait(),
    "get": lambda: fastmp.Queue().get(),
    "put": lambda: [queue.put(0) for queue in [fastmp.Queue(1)] for _ in range(2)],
    "recv": lambda: [near.recv() for near, far in [fastmp.Pipe()]],
    "barrier": lambda: fastmp.Barrier(2).wait(),
}


@pytest.mark.parametrize("name", WAITS)
def test_objects(name, alarm_elsewhere):
    with pytest.raises(Alarm):
        alarm_elsewhere(WAITS[name])


def test_result_of_a_pool(alarm_elsewhere):
    with fastmp.Pool(1) as pool, pytest.raises(Alarm):
        alarm_elsewhere(pool.apply, time.sleep, (50,))
    pool.join()


def test_future(alarm_elsewhere):
    with fastmp.ProcessPoolExecutor(1) as executor:
        future = executor.submit(time.sleep, 1)
        with pytest.raises(Alarm):
            alarm_elsewhere(future.result)
