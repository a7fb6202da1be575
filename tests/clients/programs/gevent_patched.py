"""gevent: everything patched, queues and pipes watched by its loop, processes from greenlets."""
# /// script
# dependencies = ["gevent==26.9.0"]
# [tool.client]
# title = "gevent: monkey-patched, greenlets and processes"
# ///

# ruff: noqa: E402  # everything is patched before anything else is imported
from gevent import monkey

monkey.patch_all()

import multiprocessing
import os

import gevent
from gevent import socket


def put(queue, n):
    for i in range(n):
        queue.put(i)


def send(end):
    for word in ("a", "b", "c"):
        end.send(word)


def ticks(counter):
    while True:
        gevent.sleep(0.001)
        counter[0] += 1


def watch_queue():
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=put, args=(queue, 50))
    process.start()
    got = []
    while len(got) < 50:
        socket.wait_read(queue._reader.fileno())
        got.append(queue.get())
    process.join()
    print(got == list(range(50)), process.exitcode)


def watch_pipe():
    mine, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=send, args=(theirs,))
    process.start()
    for _ in range(3):
        socket.wait_read(mine.fileno())
        print(mine.recv())
    process.join()
    print(process.exitcode)


def others_run():
    counter = [0]
    ticker = gevent.spawn(ticks, counter)
    process = multiprocessing.Process(target=os.getpid)
    process.start()
    while process.is_alive() or counter[0] == 0:
        gevent.sleep(0.001)
    ticker.kill()
    print(counter[0] > 0, process.exitcode)


if __name__ == "__main__":
    for job in (watch_queue, others_run):
        gevent.spawn(job).get()
    watch_pipe()
    lock = multiprocessing.Lock()
    with lock:
        print("locked")
    print(multiprocessing.Value("i", 3).value)
