"""pathos, multiprocess and ppft (dill) beside multiprocessing and its executor, in one process."""
# /// script
# dependencies = ["pathos==0.3.5"]
# [tool.client]
# title = "pathos, multiprocess, ppft beside multiprocessing"
# rounds = 1
# ///

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import multiprocess
import ppft
from pathos.multiprocessing import ProcessPool


def square(x):
    return x * x


async def gather():
    with ProcessPoolExecutor(2) as executor:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, square, x) for x in range(10)))


def answer(queue):
    queue.put(lambda: 5)


def neighbours():
    queue = multiprocess.Queue()
    process = multiprocess.Process(target=answer, args=(queue,))
    process.start()
    print(queue.get(timeout=60)())
    process.join()
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=queue.put, args=(7,))
    process.start()
    print(queue.get(timeout=60))
    process.join()


def main():
    pool = ProcessPool(nodes=2)
    print(pool.map(lambda x: x + 1, range(6)))
    with multiprocessing.Pool(2) as other:
        print(other.map(square, range(6)))
    print(asyncio.run(gather()))
    print(pool.amap(lambda x: x - 1, range(6)).get(60), list(pool.imap(lambda x, y: x + y, range(4), range(4))))
    pool.close()
    pool.join()
    pool.clear()
    neighbours()
    print(multiprocess.active_children(), multiprocessing.active_children())
    server = ppft.Server(2)
    print([job() for job in [server.submit(square, (x,)) for x in range(4)]])
    server.destroy()


if __name__ == "__main__":
    main()
