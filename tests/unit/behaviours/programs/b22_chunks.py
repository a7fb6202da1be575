"""22. Default chunk size is the standard one; `maxtasksperchild` gives new pids."""

import os
from contextlib import suppress

from subject import ctx, say

ran = None


def share(array):
    global ran
    ran = array


def fail_first(item):
    """The rest of a chunk is not run after its first item has failed, so one sees where chunks begin."""
    ran[item] = 1
    raise ValueError(item)


def pid_of_worker(_):
    return os.getpid()


def chunk_starts(pool, array, items, **options):
    array[:] = [0] * len(array)
    with suppress(ValueError):
        pool.map(fail_first, range(items), **options)
    return [index for index, value in enumerate(array) if value]


def main():
    array = ctx.Array("b", 1000, lock=False)
    for processes, numbers in ((2, (1, 7, 8, 9, 16, 17, 100, 1000)), (3, (100,))):
        with ctx.Pool(processes, share, (array,)) as pool:
            for items in numbers:
                say(items, "items,", processes, "workers:", chunk_starts(pool, array, items))
            say("chunksize=30:", chunk_starts(pool, array, 100, chunksize=30))
    with ctx.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(pid_of_worker, (0,)) for _ in range(6)]
        say("two tasks each:", [pids.index(pid) for pid in pids])
        say("a chunk is one task:", len(set(pool.map(pid_of_worker, range(8), chunksize=2))))
    with ctx.Pool(2, maxtasksperchild=1) as pool:
        say("one task each:", len(set(pool.map(pid_of_worker, range(6), chunksize=1))))
        say("imap:", len(set(pool.imap(pid_of_worker, range(6)))))
    with ctx.Pool(1) as pool:
        say("without:", len(set(pool.map(pid_of_worker, range(20), chunksize=1))))


if __name__ == "__main__":
    main()
