"""sanic with two workers: its manager spawns them, hands them queues, values and pipes, and watches over them."""
# /// script
# dependencies = ["sanic==25.12.1"]
# [tool.client]
# title = "sanic: 2 workers (spawn)"
# environment = "sanic"
# rounds = 1
# [tool.client.files]
# "app.py" = """
# import multiprocessing
# from sanic import Sanic, json
#
# app = Sanic("shared")
#
# @app.main_process_start
# async def start(app):
#     app.shared_ctx.inbox = multiprocessing.Queue()
#     app.shared_ctx.counter = multiprocessing.Value("i", 0)
#
# @app.get("/")
# async def count(request):
#     with app.shared_ctx.counter.get_lock():
#         app.shared_ctx.counter.value += 1
#         app.shared_ctx.inbox.put(app.shared_ctx.counter.value)
#     return json([app.shared_ctx.inbox.get(timeout=20) > 0, sorted(app.m.workers)])
# """
# ///

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from parts.web import free_port, get

LOG = Path("sanic.log")


def wait_for_workers(server):
    while server.poll() is None and LOG.read_text().count("Starting worker") < 2:
        time.sleep(0.05)


def main():
    port = free_port()
    command = [sys.executable, "-m", "sanic", "app:app", "-w", "2", "-p", str(port), "--no-motd"]
    with LOG.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    wait_for_workers(server)
    print(*sorted({get(port) for _ in range(20)}))
    os.killpg(server.pid, signal.SIGINT)  # as a terminal's Ctrl-C
    print(server.wait(60), "Traceback" in LOG.read_text())


if __name__ == "__main__":
    main()
