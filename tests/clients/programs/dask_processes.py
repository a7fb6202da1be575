"""dask's scheduler on processes: its own executor over `concurrent.futures`, here in a fork context."""
# /// script
# dependencies = ["dask==2026.8.0", "toolz"]
# [tool.client]
# title = "dask: scheduler=\"processes\" (fork)"
# ///

import operator

import dask
import dask.bag


def main():
    dask.config.set({"multiprocessing.context": "fork"})
    bag = dask.bag.from_sequence(range(1000), npartitions=20)
    with dask.config.set(scheduler="processes", num_workers=2):
        print(bag.map(operator.neg).filter(lambda x: x % 3 == 0).sum().compute())
        print(bag.groupby(lambda x: x % 5).map(lambda pair: (pair[0], sum(pair[1]))).compute())
        total = dask.delayed(sum)([dask.delayed(pow)(n, 2) for n in range(50)])
        print(total.compute())
        try:
            dask.delayed(operator.truediv)(1, 0).compute()
        except ZeroDivisionError as error:
            print(error)


if __name__ == "__main__":
    main()
