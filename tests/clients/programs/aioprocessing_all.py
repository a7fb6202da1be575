"""aioprocessing: subclasses and wrappers of every class of `multiprocessing`, awaited through threads."""
# /// script
# dependencies = ["aioprocessing==2.0.1"]
# [tool.client]
# variables = { AIOPROCESSING_DILL_DISABLED = "1" }
# title = "aioprocessing: queues, locks, events, pipes, pools, managers"
# ///

import asyncio

import aioprocessing


def serve(queue, event, lock, items):
    with lock:
        event.set()
        for item in items:
            queue.put(item + 5)
        queue.close()


def echo(end):
    while (message := end.recv()) is not None:
        end.send(message * 2)


async def queues():
    queue, lock, event = aioprocessing.AioQueue(), aioprocessing.AioLock(), aioprocessing.AioEvent()
    process = aioprocessing.AioProcess(target=serve, args=(queue, event, lock, [1, 2, 3, 4, 5, -5]))
    process.start()
    await event.coro_wait()
    results = []
    while (result := await queue.coro_get()) != 0:
        results.append(result)
    async with lock:
        results.append("locked")
    await process.coro_join()
    print(results, process.exitcode)


async def pipes():
    mine, theirs = aioprocessing.AioPipe()
    process = aioprocessing.AioProcess(target=echo, args=(theirs,))
    process.start()
    for n in range(3):
        await mine.coro_send([n] * 3)
        print(await mine.coro_recv())
    await mine.coro_send(None)
    await process.coro_join()


def square(x):
    return x * x


async def pools():
    with aioprocessing.AioPool(2) as pool:
        print(await pool.coro_map(square, range(10)))
        print(await pool.coro_apply(square, (12,)))


async def synchronisation():
    semaphore, barrier = aioprocessing.AioBoundedSemaphore(1), aioprocessing.AioBarrier(1)
    await semaphore.coro_acquire()
    semaphore.release()
    print(await barrier.coro_wait())
    condition = aioprocessing.AioCondition()
    async with condition:
        print(await condition.coro_wait(0.01))


async def managers():
    with aioprocessing.AioManager() as manager:
        queue = manager.AioQueue()
        await queue.coro_put("managed")
        print(await queue.coro_get(), dict(manager.dict(a=1)))


async def main():
    for part in (queues, pipes, pools, synchronisation, managers):
        await part()


if __name__ == "__main__":
    asyncio.run(main())
