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


def chunk_starts(items, processes, **options):
    array = ctx.Array("b", max(items, 1), lock=False)
    with ctx.Pool(processes, share, (array,)) as pool:
        with suppress(ValueError):
            pool.map(fail_first, range(items), **options)
        pool.close()
        pool.join()
    return [index for index, value in enumerate(array) if value]


def main():
    for items, processes in ((1, 2), (7, 2), (8, 2), (9, 2), (16, 2), (17, 2), (100, 2), (100, 3), (1000, 2)):
        say(items, "items,", processes, "workers:", chunk_starts(items, processes))
    say("chunksize=30:", chunk_starts(100, 2, chunksize=30))
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
