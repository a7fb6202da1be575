"""parmap (a Pool with a progress bar) and pqdm (an executor with one)."""
# /// script
# dependencies = ["parmap==1.7.0", "pqdm==0.2.0"]
# [tool.client]
# title = "parmap and pqdm"
# rounds = 1
# ///

import parmap
from pqdm.processes import pqdm


def power(x, y):
    return x**y


def fails_on_three(x):
    if x == 3:
        raise ValueError(x)
    return -x


if __name__ == "__main__":
    print(parmap.map(power, range(200), 3, pm_processes=2, pm_pbar=False))
    print(parmap.starmap(power, [(n, 2) for n in range(50)], pm_processes=2, pm_pbar=False))
    results = parmap.map_async(power, range(10), 2, pm_processes=2)
    print(results.get())
    print(pqdm([[2, n] for n in range(20)], power, n_jobs=2, argument_type="args", disable=True))
    print([repr(each) for each in pqdm(range(5), fails_on_three, n_jobs=2, disable=True)])
