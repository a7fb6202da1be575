"""The rows of docs/performance.md, standard library and fastmp interleaved. `python -m benchmarks --help`.

`__main__` reads the arguments; `runner` starts one fresh process per row, backend and repetition; `case` is that
process; `rows/` holds what it measures, by feature, with `measure` for the clock; `report` makes table and JSON.
"""
