"""trio and anyio: their own process workers, and descriptors of queues and processes in trio's loop."""
# /// script
# dependencies = ["trio==0.35.0", "anyio==4.16.0"]
# [tool.client]
# title = "trio and anyio: to_process, wait_readable"
# ///

import math
import multiprocessing

import anyio
import anyio.to_process
import trio


def put(queue):
    for n in range(10):
        queue.put(n)


async def watch():
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=put, args=(queue,))
    process.start()
    got = []
    while len(got) < 10:
        await trio.lowlevel.wait_readable(queue._reader.fileno())
        got.append(queue.get())
    await trio.lowlevel.wait_readable(process.sentinel)
    process.join()
    print(got, process.exitcode)
    print(await trio.to_thread.run_sync(process.join))


async def elsewhere():
    print(await anyio.to_process.run_sync(math.factorial, 20))
    print(await anyio.to_process.run_sync(multiprocessing.cpu_count) > 0)


if __name__ == "__main__":
    trio.run(watch)
    anyio.run(elsewhere, backend="trio")
    anyio.run(elsewhere, backend="asyncio")
