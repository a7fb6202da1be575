"""Each module of fastmp imports, while it is imported itself, only modules below it; one file alone changes others."""

import ast
from pathlib import Path

import pytest

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
    "processes": {"context", "popen_fork", "process"},
    "in the standard library's place": {"_install", "_jupyter", "_preloaded"},
    "what goes by value": {"_by_value"},
    "the other ways to start a process": {"forkserver", "popen_forkserver", "popen_spawn_posix", "spawn"},
    "pools, executors, managers": {
        "_dormant",
        "_pool_insides",
        "_template",
        "_tree",
        "_workers",
        "concurrent",
        "concurrent.futures",
        "concurrent.futures._insides",
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
