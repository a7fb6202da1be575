"""One measurement in a process of its own: `python -m benchmarks.case BACKEND ROW SIZE SECONDS LIMIT`.

Started by the runner. The last line of its output is JSON: `{"rounds": [...]}`, with `"distribution"` for a
row that times each operation, or `{"skipped": why}`. A row that
fails ends with a traceback and exit code 1. Shortly before the time limit, all threads' stacks are written, so that a
hang shows its place.
"""

import faulthandler
import json
import sys
from typing import Any

from .backends import BACKENDS, Backend, CannotMeasureError
from .measure import Watch, check
from .rows import ROWS

BEFORE_LIMIT = 0.9


def main() -> None:
    """Measure one row on one backend."""
    name, row, size, seconds, limit = sys.argv[1:]
    faulthandler.enable()
    faulthandler.dump_traceback_later(float(limit) * BEFORE_LIMIT)
    backend, watch = Backend(name), Watch(float(seconds))
    of_package = BACKENDS[name].namespaces[-1]  # beside an adapter it is the standard library's
    check(backend.Process.__module__.startswith(of_package), f"Process of {name} is {backend.Process.__module__}'s")
    try:
        ROWS[row].function(backend, int(size), watch)
        outcome: dict[str, Any] = {"rounds": watch.rounds, "distribution": watch.distribution}
    except CannotMeasureError as reason:
        outcome = {"skipped": str(reason)}
    faulthandler.cancel_dump_traceback_later()
    print(f"\n{json.dumps(outcome)}", flush=True)


if __name__ == "__main__":
    main()
