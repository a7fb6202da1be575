"""Standard modules that are completed when they are first used: what `install` has to say of modules to come.

Called by: `fastmp/_install.py`, which says which modules these are, and what completes one. Invariants:

- A module of these names that is executed while the finder is armed is *late* before anybody else can use it.
- Whatever is asked of a late module completes it first, but for what the import system asks (`__spec__`, `__path__`).
- A thread that executes one of these modules, or one of fastmp's, sees what the standard library has in all of them
  (`standard_view`): both are written with that.
- Nothing here takes a lock: completing may import, and an import may wait for a thread that has come here.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

__all__ = ["Finder", "Late", "make_late", "make_plain", "plain_class", "standard_view"]


class _View(threading.local):
    """A block in which this thread sees the standard library alone; blocks nest."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self.depth -= 1


standard_view = _View()


class Late:
    """What the classes of late modules have in common."""

    __slots__ = ()


def make_late(module: ModuleType, complete: Callable[[ModuleType], None]) -> None:
    """Have `complete` called before the module is used: then the module is late no more."""
    if not isinstance(module, Late):
        module.__class__ = _late_class(type(module), complete)


def plain_class(module: ModuleType) -> type[ModuleType]:
    """Return the class that a module has when it is not late."""
    kind = type(module)
    return kind.__mro__[2] if issubclass(kind, Late) else kind


def make_plain(module: ModuleType) -> None:
    """The module is late no more."""
    module.__class__ = plain_class(module)


def _late_class(plain: type[ModuleType], complete: Callable[[ModuleType], None]) -> type[ModuleType]:
    def is_ready(module: ModuleType, name: str) -> bool:
        if standard_view.depth or (name[:2] == "__" and name != "__dict__"):
            return False
        complete(module)
        return True

    class LateModule(Late, plain):  # type: ignore[misc,valid-type]
        def __getattribute__(self, name: str) -> Any:
            return getattr(self, name) if is_ready(self, name) else plain.__getattribute__(self, name)

        def __setattr__(self, name: str, value: object) -> None:
            if is_ready(self, name):
                setattr(self, name, value)
            else:
                plain.__setattr__(self, name, value)

        def __delattr__(self, name: str) -> None:
            if is_ready(self, name):
                delattr(self, name)
            else:
                plain.__delattr__(self, name)

    LateModule.__name__ = LateModule.__qualname__ = plain.__name__
    return LateModule


class Finder:
    """Finds modules by asking the finders after it, and has some of them told of when they are executed.

    :param names: the modules that are told of
    :param prefix: of the names of modules that only see the standard library while they are executed
    :param executed: called with each module of `names` at the end of its execution, before its import is over
    """

    def __init__(self, names: Collection[str], prefix: str, executed: Callable[[ModuleType], None]) -> None:
        self.names = names
        self.prefix = prefix
        self.executed = executed
        self.is_armed = False

    def arm(self) -> None:
        """From now on see each import of these modules that begins."""
        self.is_armed = True
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def disarm(self) -> None:
        """See no more of them."""
        self.is_armed = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the module's spec, with a loader that executes it as is said above; None for all other modules."""
        if name not in self.names and not name.startswith(self.prefix):
            return None
        finders = [finder for finder in self._after() if hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.executed if name in self.names else None)
        return spec

    def _after(self) -> list[Any]:
        """Return the finders after this one."""
        finders = list(sys.meta_path)
        return finders[finders.index(self) + 1 :] if self in finders else finders


class _Loader:
    """Another loader, in whose place it stands until the module is executed."""

    def __init__(self, loader: Any, executed: Callable[[ModuleType], None] | None) -> None:
        self.loader = loader
        self.executed = executed

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module."""
        spec: Any = module.__spec__
        if spec.loader is self:
            spec.loader = module.__loader__ = self.loader
        with standard_view:
            self.loader.exec_module(module)
        if self.executed is not None:
            self.executed(module)
