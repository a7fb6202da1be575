"""The libraries that can be measured. All have the interface of `multiprocessing`, so that one code measures each.

Called by: `machine` (versions) and the case process (`Backend`). To add a peer, add an entry to `BACKENDS`.
"""

from __future__ import annotations

import importlib
import platform
from importlib import metadata
from typing import Any

#: name: (module, module of its ProcessPoolExecutor or None)
BACKENDS: dict[str, tuple[str, str | None]] = {
    "stdlib": ("multiprocessing", "concurrent.futures"),
    "fastmp": ("fastmp", "fastmp"),
}


class CannotMeasureError(Exception):
    """This row has no meaning here: the backend does not offer it, or an optional package is not there."""


class Backend:
    """A module with the interface of `multiprocessing`, and the executor that belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        module, executor = BACKENDS[name]
        self._module = importlib.import_module(module)
        self._executor = importlib.import_module(executor) if executor else None

    def __getattr__(self, attribute: str) -> Any:
        source = self._executor if attribute == "ProcessPoolExecutor" else self._module
        try:
            return getattr(source, attribute)
        except AttributeError:
            raise CannotMeasureError(f"{self.name} has no {attribute}") from None


def version(name: str) -> str:
    """Return the version of a backend."""
    if name == "stdlib":
        return platform.python_version()
    module = BACKENDS[name][0]
    return getattr(importlib.import_module(module), "__version__", None) or metadata.version(module)
