"""loky: `ProcessPoolExecutor`, with workers that survive `__main__`-less pickles."""

from loky import ProcessPoolExecutor

__all__ = ["ProcessPoolExecutor"]
