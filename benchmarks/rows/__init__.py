"""All rows, in the order of the table."""

# isort: skip_file
from ..measure import ROWS
from . import queue, pipe, array, pool, executor, process, sync, values, managers, native, curves  # noqa: F401

__all__ = ["ROWS"]
