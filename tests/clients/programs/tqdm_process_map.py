"""`process_map` and a pool whose workers draw bars under tqdm's own lock."""
# /// script
# dependencies = ["tqdm==4.70.1"]
# [tool.client]
# title = "tqdm: `process_map`, bars in workers"
# quick = true
# replace = [["\\r[^\\n]*", ""]]
# ///

import os
import time
from multiprocessing import Pool, RLock

from tqdm import tqdm
from tqdm.contrib.concurrent import process_map


def work(n):
    return sum(i * i for i in range(n))


def draw(n):
    with open(os.devnull, "w") as nowhere:
        for _ in tqdm(range(20), desc=f"worker {n}", position=n, file=nowhere):
            time.sleep(0.001)
    return n


if __name__ == "__main__":
    print(sum(process_map(work, range(2000), max_workers=2, chunksize=1)))
    tqdm.set_lock(RLock())
    with Pool(2, initializer=tqdm.set_lock, initargs=(tqdm.get_lock(),)) as pool:
        print(sorted(pool.imap_unordered(draw, range(6))))
