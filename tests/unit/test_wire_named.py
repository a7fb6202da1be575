"""Functions that pools send by name arrive as pickle would bring them, though it is not asked."""

import pytest
from support.programs import output_of

pytestmark = pytest.mark.once

BEGIN = """
import copyreg, operator, pickle, sys, types
import fastmp
from fastmp import reduction

def double(x):
    return 2 * x

def instead():
    return operator.pos

class Doubles:
    @staticmethod
    def double(x):
        return 2 * x
"""


def test_plain_functions_make_no_pickler() -> None:
    script = """
    made = []

    class Pickler(reduction.ForkingPickler):
        def __init__(self, *args):
            made.append(args)
            super().__init__(*args)

    reduction.ForkingPickler = Pickler
    with fastmp.Pool(1) as pool:
        print(pool.apply(double, (3,)), pool.apply(operator.neg, (3,)), pool.apply(abs, (-3,)), len(made))
        print(pool.apply(Doubles.double, (4,)), pool.apply([3, 4].index, (4,)), len(made) > 0)
    """
    assert run(script) == ["6 -3 3 0", "8 1 True"]


def test_reducer_of_a_type_is_heard() -> None:
    script = """
    with fastmp.Pool(1) as pool:
        print(pool.apply(operator.neg, (3,)))
    copyreg.pickle(types.BuiltinFunctionType, lambda function: (instead, ()))
    with fastmp.Pool(1) as pool:
        print(pool.apply(operator.neg, (3,)))
    """
    assert run(script) == ["-3", "3"]


def test_reducer_override_is_heard() -> None:
    script = """
    def override(self, obj):
        return (instead, ()) if obj is operator.neg else NotImplemented

    reduction.ForkingPickler.reducer_override = override
    with fastmp.Pool(1) as pool:
        print(pool.apply(operator.neg, (3,)), pool.apply(abs, (-3,)))
    """
    assert run(script) == ["3 3"]


def test_what_the_worker_does_not_find_is_told_as_by_pickle() -> None:
    script = """
    def told(call, *args):
        try:
            call(*args)
        except Exception as error:
            return type(error), str(error)

    with fastmp.Pool(1) as pool:
        pool.apply(abs, (1,))
        for name in ("operator", "later"):
            module = sys.modules.setdefault(name, types.ModuleType(name))
            exec("def late(x): pass", module.__dict__)
            module.late.__module__ = name
            found = told(pool.apply, module.late, (1,))
            message = pickle.dumps(module.late)
            del module.late
            sys.modules.pop("later", None)
            print(found == told(pickle.loads, message), found[0].__name__)
    """
    assert run(script) == ["True AttributeError", "True ModuleNotFoundError"]


def test_another_function_of_that_name_is_not_taken_for_it() -> None:
    script = """
    other = types.FunctionType(double.__code__, globals(), "abs")
    other.__module__, other.__qualname__ = "builtins", "abs"
    with fastmp.Pool(1) as pool:
        try:
            print(pool.apply(other, (3,)) == 6)
        except pickle.PicklingError:  # there is no cloudpickle to send it by value
            print(True)
    """
    assert run(script) == ["True"]


def test_it_is_audited() -> None:
    script = """
    found = []
    sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)

    def all_found():
        return found

    with fastmp.Pool(1) as pool:
        pool.apply(operator.neg, (1,))
        print(("_operator", "neg") in pool.apply(all_found))
    """
    assert run(script) == ["True"]


def run(script: str) -> list[str]:
    lines = [line.removeprefix("    ") for line in script.splitlines()]
    return output_of(BEGIN + "\n".join(lines))
