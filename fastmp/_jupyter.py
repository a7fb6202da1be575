"""`%load_ext fastmp` and `%unload_ext fastmp`: install and uninstall in a notebook's kernel.

Called by: IPython, through the names in `fastmp/__init__.py`. Names that earlier cells have imported, such as
`from concurrent.futures import ProcessPoolExecutor`, are changed in the notebook's namespace too.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any, Protocol

from ._install import install, replacements, uninstall

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


class Shell(Protocol):
    """What is used of IPython's shell."""

    user_ns: MutableMapping[str, Any]


def load_ipython_extension(ipython: Shell) -> None:
    """Install fastmp in this kernel: `%load_ext fastmp`."""
    install()
    _rebind(ipython.user_ns, replacements())


def unload_ipython_extension(ipython: Shell) -> None:
    """Give this kernel the standard library back: `%unload_ext fastmp`."""
    pairs = [(new, old) for old, new in replacements()]
    uninstall()
    _rebind(ipython.user_ns, pairs)


def _rebind(namespace: MutableMapping[str, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
    """Change each name in `namespace` that is bound to the first of a pair to the second."""
    new_of = {id(old): new for old, new in pairs}
    for name, value in list(namespace.items()):
        if id(value) in new_of:
            namespace[name] = new_of[id(value)]
