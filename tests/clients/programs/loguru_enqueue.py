"""loguru with `enqueue=True`: a SimpleQueue, a thread that reads it, and workers that log through both."""
# /// script
# dependencies = ["loguru==0.7.3"]
# [tool.client]
# title = "loguru: enqueue=True"
# ///

import multiprocessing
import sys

from loguru import logger


def work(number):
    for line in range(100):
        logger.info("worker {} line {}", number, line)
    logger.complete()


def fail(number):
    with logger.catch():
        return 1 // (number - number)


if __name__ == "__main__":
    logger.remove()
    logger.add("all.log", format="{level} {message}", enqueue=True, context="fork")
    logger.add(
        sys.stdout, format="{level} {message}", enqueue=True, filter=lambda record: "line" not in record["message"]
    )
    processes = [multiprocessing.Process(target=work, args=(n,)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    logger.info("joined")
    with multiprocessing.Pool(2) as pool:
        print(pool.map(work, range(10, 14)))
        pool.close()
        pool.join()
    logger.complete()
    logger.remove()
    with open("all.log") as file:
        lines = file.read().splitlines()
    print(len(lines), sorted(lines)[:3])
    print([line for line in lines if "worker 1 line" in line] == [f"INFO worker 1 line {n}" for n in range(100)])
