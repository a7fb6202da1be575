"""What children of every start method run: importable there, and with nothing of pytest."""

import multiprocessing
import os
import sys
from typing import Any

import fastmp


def tell_about_me(sender: Any) -> None:
    """Send what a child knows about itself and its parent."""
    me, parent = fastmp.current_process(), fastmp.parent_process()
    assert parent is not None
    about: dict[str, object] = {
        "name": me.name,
        "daemon": me.daemon,
        "authkey": bytes(me.authkey),
        "parent": parent.pid,
        "parent_name": parent.name,
        "parent_lives": parent.is_alive(),
        "methods": [fastmp.get_start_method(), multiprocessing.get_start_method()],
        "argv": sys.argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "cwd": os.getcwd(),
        "main": sys.modules["__main__"].__name__,
    }
    sender.send(about)
