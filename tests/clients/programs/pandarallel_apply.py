"""pandarallel: pandas frames through a Pool and a Manager's queue."""
# /// script
# dependencies = ["pandarallel==1.6.5", "pandas<3"]
# [tool.client]
# title = "pandarallel: parallel_apply"
# replace = [["\\r[^\\n]*", ""]]
# ///

import pandas
from pandarallel import pandarallel


def row_sum(row):
    return row.a * 2 + row.b


if __name__ == "__main__":
    pandarallel.initialize(nb_workers=2, progress_bar=False, verbose=0, use_memory_fs=False)
    frame = pandas.DataFrame({"a": range(1000), "b": range(1000, 2000)})
    print(frame.parallel_apply(row_sum, axis=1).sum())
    print(frame.a.parallel_map(lambda x: x + 1).sum())
    print(frame.groupby(frame.a % 7).parallel_apply(lambda group: group.b.max()).tolist())
