"""`istarmap`, which many programs patch into Pool from its private methods, under a progress bar."""
# /// script
# dependencies = ["tqdm==4.70.1"]
# [tool.client]
# title = "istarmap patched into Pool"
# replace = [["\\r[^\\n]*", ""]]
# ///

import multiprocessing.pool as mpp
from multiprocessing import Pool

from tqdm import tqdm


def istarmap(self, func, iterable, chunksize=1):
    self._check_running()
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
    batches = mpp.Pool._get_tasks(func, iterable, chunksize)
    result = mpp.IMapIterator(self)
    tasks = self._guarded_task_generation(result._job, mpp.starmapstar, batches)
    self._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)


mpp.Pool.istarmap = istarmap

if __name__ == "__main__":
    with Pool(2) as pool:
        pairs = [(n, 7) for n in range(300)]
        print(sum(quotient for quotient, _ in tqdm(pool.istarmap(divmod, pairs), total=300)))
        print(list(pool.istarmap(pow, [(2, n) for n in range(8)], chunksize=3)))
