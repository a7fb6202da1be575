"""watchfiles: a function in a process of its own (spawn), started anew at each change."""
# /// script
# dependencies = ["watchfiles==1.3.0"]
# [tool.client]
# title = "watchfiles: run_process"
# rounds = 1
# ///

import threading
import time
from pathlib import Path

import watchfiles

LOG, WATCHED = Path("log"), Path("watched")


def target(text):
    with LOG.open("a") as stream:
        stream.write(text + "\n")
    while True:
        time.sleep(60)


def change(stop):
    """Each start is answered by a change, the third one by the end."""
    for count in (1, 2, 3):
        while not LOG.exists() or LOG.read_text().count("\n") < count:
            time.sleep(0.02)
        if count < 3:
            (WATCHED / "file.py").write_text(f"x = {count}")
    stop.set()
    (WATCHED / "file.py").write_text("x = 3")


class Stop(threading.Event):
    """Ends run_process from its filter of changes."""

    def __call__(self, _change, _path):
        if self.is_set():
            raise KeyboardInterrupt
        return True


if __name__ == "__main__":
    WATCHED.mkdir()
    stop = Stop()
    thread = threading.Thread(target=change, args=(stop,))
    thread.start()
    try:
        watchfiles.run_process(WATCHED, target=target, args=("started",), watch_filter=stop, debounce=50, step=20)
    except KeyboardInterrupt:
        print("interrupted")
    thread.join()
    print(LOG.read_text())
