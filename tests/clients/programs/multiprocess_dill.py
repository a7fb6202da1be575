"""multiprocess, a copy of multiprocessing that pickles with dill, side by side with multiprocessing."""
# /// script
# dependencies = ["multiprocess==0.70.19"]
# [tool.client]
# title = "multiprocess (dill) beside multiprocessing"
# ///

import multiprocessing

import multiprocess


def square(x):
    return x * x


if __name__ == "__main__":
    with multiprocess.Pool(2) as dilled, multiprocessing.Pool(2) as plain:
        print(dilled.map(lambda x: x + 1, range(10)))
        print(plain.map(square, range(10)))
    ours, theirs = multiprocessing.Queue(), multiprocess.Queue()
    process = multiprocess.Process(target=lambda: (ours.put(1), theirs.put(lambda: 2)))
    process.start()
    print(ours.get(), theirs.get()())
    process.join()
    print(process.exitcode, multiprocessing.active_children(), multiprocess.active_children())
