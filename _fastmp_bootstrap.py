"""Installs fastmp when this Python first imports `multiprocessing`.

Imported when an interpreter starts with FASTMP_INSTALL=1: by fastmp-install.pth, or by `fastmp/_site` where that is not
in site-packages. It imports nothing but `sys`: a Python that never uses processes pays well under a millisecond.
"""

import sys

PACKAGE, EXECUTOR = "multiprocessing", "concurrent.futures.process"


class Finder:
    """Finds the modules after which fastmp is to be installed, by asking the other finders."""

    def __init__(self):
        self.executor_comes = False  # its module is being executed, and imports multiprocessing in the middle

    def find_spec(self, name, path=None, target=None):
        """Return the module's spec, with a loader that calls `loaded` when it is done; None for all other modules."""
        if name not in (PACKAGE, EXECUTOR):
            return None
        spec = next(filter(None, (other.find_spec(name, path, target) for other in self.others())), None)
        if spec is not None:
            self.executor_comes = self.executor_comes or name == EXECUTOR
            self.hook(spec.loader, name)
        return spec

    def others(self):
        """Return the other finders."""
        return [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]

    def hook(self, loader, name):
        """Make `loader`, which is this one module's, tell when the module is complete."""
        execute = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            execute(module)
            self.loaded(name)

        loader.exec_module = exec_module

    def loaded(self, name):
        """Install, unless the executor's module is still on its way: half a module cannot be changed."""
        if name == PACKAGE and self.executor_comes:
            return
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            install()


def install():
    """Call `fastmp.install`, also when `fastmp` itself is what imports `multiprocessing`."""
    from fastmp._install import install

    install()


def arm():
    """Wait for the first import, or install at once where something has imported it before."""
    if PACKAGE in sys.modules:
        install()
    else:
        sys.meta_path.insert(0, Finder())


arm()
