"""Objects that travel by value: `ByValue` pickles as the contents of what it stands for, by `cloudpickle`.

Called by: `fastmp._by_value`, which decides what goes so, and says with a `Receiver` what is known where it goes.
What arrives is the receiver's affair: `fastmp._by_value_arrive`.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import ChainMap
from functools import cache
from types import MappingProxyType

from . import _core, reduction
from ._by_value_arrive import (
    MainGlobals,
    add_state,
    arrive,
    arrive_as_message,
    arrive_once,
    cloudpickle,
    complete_classes,
    is_definition,
    is_of_main,
    main_globals,
    set_class_once,
    set_state,
)
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping
    from typing import Any, ClassVar


__all__ = ["REFUSALS", "ByValue", "Receiver"]

#: What pickle and cloudpickle raise for what they refuse.
REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


class Receiver:
    """What is known where objects go; this one: nothing of the main module."""

    is_parent = False  #: whether what goes there is a result
    #: Functions and classes that the receivers have for certain, by id: fmp_wire_goes_by_name looks there first.
    known: Mapping[int, weakref.ref[Any]] = MappingProxyType({})

    def is_known(self, obj: Any) -> bool:
        """Whether the receivers have this function or class of the main module."""
        return False

    def has(self, name: str) -> bool:
        """Whether the receivers' main module has something of this name."""
        return False

    def reduce_definition(self, definition: Any) -> Any:
        """Return how a function or class of the main module is pickled in a message; NotImplemented: no special way."""
        return NotImplemented

    def must_come(self, name: str, value: Any) -> bool:
        """Whether this global of a function goes along with it."""
        return not self.is_known(value) if is_of_main(value) else not self.has(name)


class ByValue:
    """An object on its way: pickles as its contents. What arrives is the object.

    :param receiver: what is known there
    :param error: what pickle has said, and is raised if cloudpickle refuses as well
    :param is_message: whether it is a message, which may have large buffers; else a function or class, or what rests on
        one, that the receiver is to have in its main module
    """

    def __init__(
        self, obj: Any, receiver: Receiver, error: BaseException | None = None, is_message: bool = False
    ) -> None:
        self._obj = obj
        self._receiver = receiver
        self._error = error
        self._is_message = self.has_buffers = is_message
        self._sent: dict[str, Any] = {}
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._reduced: Any = None

    def is_current(self) -> bool:
        """Whether the definitions that went along are still those of the main module, and as they were."""
        now = main_globals()
        return all(now.get(name) is obj for name, obj in self._sent.items()) and all(
            _is_same(vars(cls), before) for cls, before in self._classes
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reduced is not None:
            return self._reduced  # type: ignore[no-any-return]
        refused: BaseException | None = None
        try:
            data, buffers, is_alone = self._dump()
        except REFUSALS as second:
            refused = self._error
            if refused is None:
                raise
            if str(second) != str(refused):
                refused.add_note(f"nor does it go by value: {type(second).__name__}: {second}")
        if refused is not None:
            raise refused  # not in the handler: it keeps the context it came with
        if self._is_message:
            return arrive_as_message, (data, *buffers)
        if not is_alone or not is_definition(self._obj):
            return arrive, (data,)
        self._reduced = arrive_once, (os.urandom(16), data)
        return self._reduced  # type: ignore[no-any-return]

    def _dump(self) -> tuple[bytes, list[pickle.PickleBuffer], bool]:
        """Return the pickle, its buffers, and whether it holds no references to shared objects."""
        stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
        add_buffer = buffers.append if self.has_buffers else None
        pickler = _pickler()(stream, self._receiver, self._is_message, add_buffer)
        before = _core.carried()
        pickler.dump(self._obj)
        self._sent = pickler.sent
        self._classes = [(obj, dict(vars(obj))) for obj in pickler.sent.values() if isinstance(obj, type)]
        return stream.getvalue(), buffers, _core.carried() == before


def _is_same(now: Any, before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(now.get(name) is value for name, value in before.items())


#: Reducers that differ from cloudpickle's and the registered ones, as of the pickler that was made last.
_own_reducers: dict[type, Any] = {}


def _reduce_file(file: Any) -> Any:
    """Reduce the standard streams as cloudpickle does; other files are refused, not read and sent as their text."""
    if file is sys.stdout or file is sys.stderr:
        return cloudpickle()._file_reduce(file)
    raise TypeError("cannot pickle '_io.TextIOWrapper' object")


@cache
def _pickler() -> Any:
    """Return the class of pickler; made late, as cloudpickle takes longer to import than all of fastmp."""
    base: Any = cloudpickle().Pickler
    _own_reducers[io.TextIOWrapper] = _reduce_file

    class Pickler(base):  # type: ignore[misc]
        """cloudpickle's, which also knows shared objects, and what the receiver has in its main module."""

        dispatch_table: ClassVar[Any] = ChainMap(
            _own_reducers,
            ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
            base.dispatch_table,
        )

        def __init__(self, file: io.BytesIO, receiver: Receiver, is_message: bool, add_buffer: Any) -> None:
            super().__init__(file, buffer_callback=add_buffer)
            registered = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
            for kind, (known, in_message) in reduction.in_messages.items():
                if registered.get(kind) is known:
                    _own_reducers[kind] = in_message
                else:
                    _own_reducers.pop(kind, None)
            self.receiver, self.is_message = receiver, is_message
            self.is_result = receiver.is_parent
            self.main = main_globals()
            self.sent: dict[str, Any] = {}
            self.globals_ref[id(self.main)] = MainGlobals(here=True)

        def reducer_override(self, obj: Any) -> Any:
            if is_of_main(obj):
                if self.receiver.is_known(obj):
                    return NotImplemented  # by its name
                reduced = self.receiver.reduce_definition(obj) if self.is_message else NotImplemented
                if reduced is not NotImplemented:
                    return reduced
                name = obj.__name__
                if self.main.get(name) is obj:
                    self.sent[name] = obj
            reduced = super().reducer_override(obj)
            if not isinstance(obj, type) or not isinstance(reduced, tuple) or len(reduced) != 6:
                return reduced
            complete_classes.add(obj)
            return (*reduced[:5], set_class_once) if self.is_result else reduced

        def _dynamic_function_reduce(self, function: Any) -> Any:
            reduced = super()._dynamic_function_reduce(function)
            if function.__globals__ is not self.main:
                return reduced
            make, arguments, (state, slots), *nothing, _ = reduced
            named = slots["__globals__"]
            come = self.receiver.must_come
            slots["__globals__"] = {name: value for name, value in named.items() if come(name, value)}
            return (make, arguments, (state, slots), *nothing, add_state if self.is_result else set_state)

    return Pickler
