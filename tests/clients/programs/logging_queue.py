"""QueueHandler in workers, QueueListener in the parent; psutil and setproctitle look at processes and name them."""
# /// script
# dependencies = ["psutil", "setproctitle==1.3.8"]
# [tool.client]
# title = "logging by QueueHandler; psutil, setproctitle"
# rounds = 1
# ///

import logging
import multiprocessing
from logging.handlers import QueueHandler, QueueListener

import psutil
import setproctitle


def log_to(queue):
    logger = logging.getLogger("jobs")
    logger.addHandler(QueueHandler(queue))
    logger.setLevel(logging.INFO)


def job(number):
    logging.getLogger("jobs").info("job %d %s", number, {"of": 300}, extra={"number": number})
    return number


def named(event, ready):
    setproctitle.setproctitle("a named worker")
    ready.set()
    event.wait()


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append((record.number, record.getMessage()))


def log(ctx):
    queue, kept = ctx.Queue(), Kept()
    listener = QueueListener(queue, kept)
    listener.start()
    with ctx.Pool(2, log_to, (queue,)) as pool:
        print(sum(pool.map(job, range(300), chunksize=7)))
        pool.close()
        pool.join()
    listener.stop()
    print(len(kept.records), sorted(kept.records)[::100])


def look(ctx):
    event, ready = ctx.Event(), ctx.Event()
    process = ctx.Process(target=named, args=(event, ready))
    process.start()
    ready.wait()
    seen = psutil.Process(process.pid)
    print(seen.cmdline()[0], seen.is_running())
    seen.suspend()
    print(process.is_alive())
    seen.resume()
    seen.terminate()
    process.join()
    print(process.exitcode, seen.is_running())


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        print(method)
        log(multiprocessing.get_context(method))
        look(multiprocessing.get_context(method))
