"""aiomultiprocess: an event loop in each worker, its own Process, Worker and Pool over a context's queues."""
# /// script
# dependencies = ["aiomultiprocess==0.9.1"]
# [tool.client]
# title = "aiomultiprocess (fork)"
# ///

import asyncio

import aiomultiprocess


async def double(x):
    await asyncio.sleep(0.001)
    return x * 2


async def fails(x):
    raise KeyError(x)


async def main():
    print(await aiomultiprocess.Worker(target=double, args=(4,)))
    async with aiomultiprocess.Pool(processes=2, childconcurrency=4) as pool:
        print(await pool.map(double, range(20)))
        print(await pool.apply(double, (50,)))
        print(await pool.starmap(double, [(1,), (2,)]))
        try:
            await pool.apply(fails, (1,))
        except aiomultiprocess.types.ProxyException as error:
            print("KeyError" in str(error))
        async for result in pool.map(double, range(3)):
            print(result)


if __name__ == "__main__":
    aiomultiprocess.set_start_method("fork")
    asyncio.run(main())
