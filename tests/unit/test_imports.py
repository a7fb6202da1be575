"""Each module of fastmp imports, while it is imported itself, only modules below it; one file alone changes others."""

import ast
from pathlib import Path

import pytest
from support.programs import home, output_of, python

import fastmp

PACKAGE = Path(__file__).resolve().parent.parent.parent / "fastmp"

# From the bottom up. Imports inside functions, as the contexts' factories have, are free.
LAYERS = {
    "facts and tools": {
        "_core",
        "_cpus",
        "_errors",
        "_handed_on",
        "_helper",
        "_installed",
        "_late",
        "_layout",
        "_timeouts",
        "heap",
    },
    "the standard library's, under our names": {
        "dummy",
        "dummy.connection",
        "reduction",
        "resource_sharer",
        "resource_tracker",
        "shared_memory",
        "util",
    },
    "what is shared": {
        "_atomic",
        "_queue_insides",
        "_references",
        "_shared_dict",
        "_signature",
        "connection",
        "queues",
        "sharedctypes",
        "synchronize",
    },
    "arrays and native calls": {"_arrays", "_native", "_shared_array"},
    "processes": {"_child", "context", "popen_fork", "process"},
    "in the standard library's place": {"_install", "_jupyter", "_preloaded"},
    "what goes by value": {"_by_value", "_by_value_arrive", "_by_value_pickle"},
    "the other ways to start a process": {"forkserver", "popen_forkserver", "popen_spawn_posix", "spawn"},
    "pools, executors, managers": {
        "_dormant",
        "_pool_insides",
        "_pool_upkeep",
        "_pool_worker",
        "_template",
        "_tree",
        "_workers",
        "concurrent",
        "concurrent.futures",
        "concurrent.futures._insides",
        "concurrent.futures._ordered",
        "concurrent.futures._worker",
        "concurrent.futures.process",
        "managers",
        "pool",
    },
    "the package, and the ways in": {"", "__main__", "_site", "_site.sitecustomize"},  # "" is fastmp itself
}
LEVEL = {name: number for number, names in enumerate(LAYERS.values()) for name in names}
MAY_CHANGE_OTHERS = {"_install", "_late"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(name, path):
    """The modules of fastmp that are imported at the top level of a file."""
    package = ["fastmp", *name.split(".")] if name else ["fastmp"]
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
            found = [each for each in names if is_module(each)] or [origin]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            continue
        yield from (each.removeprefix("fastmp").removeprefix(".") for each in found if each.split(".")[0] == "fastmp")


def is_module(name):
    path = PACKAGE.parent / name.replace(".", "/")
    return name.endswith("._core") or path.with_suffix(".py").exists() or path.is_dir()


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_only_what_is_below(name, path):
    assert name in LEVEL, "add it to LAYERS"
    for imported in imports_of(name, path):
        assert LEVEL[imported] <= LEVEL[name], imported


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_only_one_file_changes_other_modules(name, path):
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    if name not in MAY_CHANGE_OTHERS:
        assert calls.isdisjoint({"setattr", "delattr"})


# ---- what a program pays for

#: Makes everything that a program may ask of `fastmp`, one after the other.
USES = (
    "fastmp.Lock()",
    "fastmp.Queue()",
    "fastmp.SimpleQueue()",
    "fastmp.Pipe()",
    "fastmp.Process(target=abs, args=(1,)).start()",
    "fastmp.Pool(1).terminate()",
    "fastmp.Value('i').value",
    "fastmp.ProcessPoolExecutor(1).submit(abs, 1).result()",
)
LOADED = """
import sys, multiprocessing
before = set(sys.modules)
import fastmp
{then}
print(*sorted(set(sys.modules) - before))
"""


def loaded(then: str) -> set[str]:
    """What a Python without `site` has loaded beyond what `import multiprocessing` loads."""
    result = python("-S", "-c", LOADED.format(then=then), env={"PYTHONPATH": str(home())})
    assert not result.stderr
    return set(result.stdout.split())


def test_importing_fastmp_loads_next_to_nothing():
    """A short program pays for each module at its start."""
    own = {"__future__", "fastmp", "fastmp._core", "fastmp.context", "fastmp.process"}
    assert loaded("") == own
    tools = {"contextlib", "importlib", "importlib._bootstrap", "importlib._bootstrap_external", "warnings"}
    assert loaded("fastmp.install()") - tools == own | {"fastmp._install", "fastmp._installed", "fastmp._late"}


@pytest.mark.parametrize("use", USES)
def test_no_use_loads_what_only_type_checkers_need(use):
    assert "typing" not in loaded(use)


def test_the_names_that_come_later_are_listed():
    """`dir` knows them, and each of them is there."""
    script = "import fastmp; names = dir(fastmp); print(*names); [getattr(fastmp, name) for name in names]"
    assert set(output_of(script)[0].split()) >= {*fastmp.__all__, "queues", "pool", "shared_memory", "managers"}
