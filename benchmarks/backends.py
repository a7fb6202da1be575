"""The libraries that can be measured, each behind the interface of `multiprocessing`, so that one code measures all.

Called by: `machine` (versions), `runner` (which rows a backend is measured on) and the case process (`Backend`). A peer
with another interface than `multiprocessing`'s has an adapter in `peers`. To add a peer, add an entry to `BACKENDS`.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
from fnmatch import fnmatchcase
from importlib import metadata
from typing import Any, NamedTuple


class CannotMeasureError(Exception):
    """This row has no meaning here: the backend does not offer it, or an optional package is not there."""


class Library(NamedTuple):
    """How a backend is reached."""

    package: str  # the module whose presence says that it is installed
    distribution: str  # what pip calls it; "" for the standard library
    namespaces: tuple[str, ...]  # modules, or module:object, in which names are looked up, in this order
    rows: tuple[str, ...] = ("*",)  # patterns of the rows that it is measured on, and with ! of exceptions


_POOL = ("pool_map_small", "pool_map_chunk1", "pool_imap_unordered", "ndarray_64MB_pool")
# The curves of large numbers take the others minutes.
_NO_SCALING = ("!messages:*", "!tasks:*", "!workers:*")
_STDLIB = ("*", "!messages:queue:10000000", "!tasks:pool:1000000")
_NO_EXECUTOR = (*_NO_SCALING, "*", "!executor_*", "!*executor", "!native_*", "!shared_*", "!queue_put_get_many")
_EXECUTOR = ("executor_*", "ndarray_64MB_executor", "latency:executor")
BACKENDS: dict[str, Library] = {
    "stdlib": Library("multiprocessing", "", ("concurrent.futures", "multiprocessing"), _STDLIB),
    "fastmp": Library("fastmp", "fastmp", ("fastmp",)),
    "faster-fifo": Library(
        "faster_fifo",
        "faster-fifo",
        ("benchmarks.peers.faster_fifo", "multiprocessing"),
        ("queue_*", "ndarray_64MB_queue", "size:*", "parties:*", "latency:queue"),
    ),
    "billiard": Library("billiard", "billiard", ("billiard",), (*_NO_EXECUTOR, "!atomic_add")),  # no Value("q")
    "multiprocess": Library("multiprocess", "multiprocess", ("multiprocess",), _NO_EXECUTOR),
    "loky": Library("loky", "loky", ("benchmarks.peers.loky", "multiprocessing"), _EXECUTOR),
    "joblib": Library("joblib", "joblib", ("benchmarks.peers.joblib", "multiprocessing"), _POOL),
    "mpire": Library(
        "mpire",
        "mpire",
        ("benchmarks.peers.mpire", "multiprocessing"),
        (*_POOL, "pool_starmap", "pool_apply_*", "pool_startup_shutdown", "latency:pool"),
    ),
    "pebble": Library("pebble", "Pebble", ("benchmarks.peers.pebble", "multiprocessing"), _EXECUTOR),
    "ray": Library("ray", "ray", ("benchmarks.peers.ray", "multiprocessing"), _EXECUTOR),
}


class Backend:
    """A library, with the names of `multiprocessing` and `ProcessPoolExecutor`; what it lacks cannot be measured."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._namespaces = [importlib.import_module(module) for module in BACKENDS[name].namespaces]

    def __getattr__(self, attribute: str) -> Any:
        for namespace in self._namespaces:
            if hasattr(namespace, attribute):
                return getattr(namespace, attribute)
        raise CannotMeasureError(f"{self.name} has no {attribute}")

    @property
    def is_fastmp(self) -> bool:
        """Whether a row without a counterpart elsewhere measures fastmp's feature, or what is written without it."""
        return self.name == "fastmp"


def is_installed(name: str) -> bool:
    """Whether a backend can be imported here."""
    return importlib.util.find_spec(BACKENDS[name].package) is not None


def is_measured(name: str, row: str) -> bool:
    """Whether a row has a meaning for a backend."""
    patterns = BACKENDS[name].rows
    excepted = any(fnmatchcase(row, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not excepted and any(fnmatchcase(row, pattern) for pattern in patterns)


def version(name: str) -> str:
    """Return the version of a backend."""
    library = BACKENDS[name]
    if not library.distribution:
        return platform.python_version()
    module = importlib.import_module(library.package) if name == "fastmp" else None
    return getattr(module, "__version__", None) or metadata.version(library.distribution)
