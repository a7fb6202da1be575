"""asyncio: executors, descriptors of queues, pipes and sentinels in `add_reader`, a selector with all of them."""
# /// script
# dependencies = []
# [tool.client]
# title = "asyncio: run_in_executor, add_reader"
# quick = true
# ///

import asyncio
import multiprocessing
import selectors
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def work(x):
    return x * x


def fails():
    raise LookupError("in a worker")


def talk(queue, simple, end):
    for n in range(20):
        queue.put(n)
        simple.put(-n)
        end.send([n])
    end.close()


async def executors():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as pool:
        print(await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(50))))
        try:
            await loop.run_in_executor(pool, fails)
        except LookupError as error:
            print(repr(error), type(error.__cause__).__name__)
        try:
            await asyncio.wait_for(loop.run_in_executor(pool, __import__("time").sleep, 0.2), 0.01)
        except TimeoutError:
            print("timeout")


async def readers():
    loop = asyncio.get_running_loop()
    queue, simple = multiprocessing.Queue(), multiprocessing.SimpleQueue()
    mine, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=talk, args=(queue, simple, theirs))
    got = {"queue": [], "simple": [], "pipe": []}
    ended = loop.create_future()

    def from_pipe():
        try:
            got["pipe"].append(mine.recv())
        except EOFError:
            loop.remove_reader(mine.fileno())
            got["pipe"].append("end")

    loop.add_reader(queue._reader.fileno(), lambda: got["queue"].append(queue.get()))
    loop.add_reader(simple._reader.fileno(), lambda: got["simple"].append(simple.get()))
    loop.add_reader(mine.fileno(), from_pipe)
    process.start()
    theirs.close()
    loop.add_reader(process.sentinel, lambda: ended.done() or ended.set_result(None))
    await ended
    loop.remove_reader(process.sentinel)
    while not all(len(messages) >= 20 for messages in got.values()) or got["pipe"][-1] != "end":
        await asyncio.sleep(0.001)
    process.join()  # the sentinel tells of the end a moment before the process can be waited for
    print(got, process.exitcode)
    loop.remove_reader(queue._reader.fileno())
    loop.remove_reader(simple._reader.fileno())


def selecting():
    queue, (mine, theirs) = multiprocessing.Queue(), multiprocessing.Pipe()
    process = multiprocessing.Process(target=talk, args=(queue, multiprocessing.SimpleQueue(), theirs))
    process.start()
    theirs.close()
    with selectors.DefaultSelector() as selector:
        selector.register(queue._reader, selectors.EVENT_READ, "queue")
        selector.register(mine, selectors.EVENT_READ, "pipe")
        selector.register(process.sentinel, selectors.EVENT_READ, "end")
        seen, counts = set(), {"queue": 0, "pipe": 0}
        while counts["queue"] < 20 or counts["pipe"] < 20 or "end" not in seen:
            for key, _ in selector.select(5):
                seen.add(key.data)
                if key.data == "queue" and counts["queue"] < 20:
                    queue.get()
                    counts["queue"] += 1
                if key.data == "pipe" and counts["pipe"] < 20:
                    mine.recv()
                    counts["pipe"] += 1
    print(counts, sorted(seen))
    print([type(thing).__name__ for thing in wait([mine, process.sentinel], 5)])
    process.join()


if __name__ == "__main__":
    asyncio.run(executors())
    asyncio.run(readers())
    selecting()
