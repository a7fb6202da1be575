"""Timeouts that Python code waits for itself. Called by: `fastmp.connection`, `fastmp.popen_fork`.

The C core has the same rules in csrc/pyrt/wait.c.
"""

from threading import TIMEOUT_MAX

__all__ = ["countable"]


def countable(timeout: float) -> float:
    """Return the timeout in seconds.

    :raises OverflowError: if it is longer than any clock can count
    :raises ValueError: for NaN
    """
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    if timeout != timeout:
        raise ValueError("timeout must not be NaN")
    return timeout
