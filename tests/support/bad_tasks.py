"""Tasks that end as no task should, for children by every start method."""

import os
import signal
import threading
import time


class LoadFails(Exception):
    """It cannot be unpickled: its constructor wants more than its arguments."""

    def __init__(self, text, more):
        super().__init__(text)
        self.more = more


def good(number):
    time.sleep(0.02)
    return number


def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(number):
    raise SystemExit(number)


def raises_load_fails(number):
    raise LoadFails("the original text", number)


def returns_lock(number):
    return threading.Lock()
