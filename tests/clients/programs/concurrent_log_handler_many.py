"""concurrent-log-handler: many processes write one rotating log under file locks."""
# /// script
# dependencies = ["concurrent-log-handler==0.9.31"]
# [tool.client]
# title = "concurrent-log-handler: 4 processes, one log"
# ///

import logging
import multiprocessing
from pathlib import Path

from concurrent_log_handler import ConcurrentRotatingFileHandler


def write(number):
    logger = logging.getLogger("many")
    logger.addHandler(ConcurrentRotatingFileHandler("many.log", "a", 20_000, 50))
    logger.setLevel(logging.INFO)
    for line in range(200):
        logger.info("process %d line %d", number, line)


if __name__ == "__main__":
    processes = [multiprocessing.Process(target=write, args=(n,)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])
    lines = [line for path in Path().glob("many.log*") for line in path.read_text().splitlines()]
    print(len(lines), len(set(lines)))
