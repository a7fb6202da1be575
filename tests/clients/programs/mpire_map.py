"""mpire: a worker pool of its own over `multiprocessing`'s contexts, with shared objects and worker state."""
# /// script
# dependencies = ["mpire==2.10.2", "numpy>=2,<3"]
# [tool.client]
# title = "mpire: WorkerPool"
# replace = [["\\r[^\\n]*", ""]]
# ///

import numpy
from mpire import WorkerPool
from mpire.utils import make_single_arguments


def scaled(shared, x):
    return float(shared[x]) * 2


def counted(worker_state, x):
    worker_state["n"] = worker_state.get("n", 0) + 1
    return x * x


def fails(x):
    if x == 7:
        raise ValueError("seven")
    return x


if __name__ == "__main__":
    data = numpy.arange(100.0)
    with WorkerPool(n_jobs=2, shared_objects=data) as pool:
        print(sum(pool.map(scaled, range(100))))
    with WorkerPool(n_jobs=2, use_worker_state=True, keep_alive=True) as pool:
        print(pool.map(counted, range(50), chunk_size=3)[-3:])
        print(pool.map(counted, range(10)))
    with WorkerPool(n_jobs=2, use_worker_state=True) as pool:
        print(sorted(pool.imap_unordered(counted, make_single_arguments(range(10)), iterable_len=10)))
    with WorkerPool(n_jobs=2) as pool:
        try:
            pool.map(fails, range(20))
        except ValueError as error:
            print(type(error).__name__, error.args[0].splitlines()[0] if error.args else "")
