"""dramatiq's command with two worker processes: its pipes between master and workers, `connection.wait`, an event."""
# /// script
# dependencies = ["dramatiq==2.2.1"]
# [tool.client]
# title = "dramatiq: 2 processes"
# rounds = 1
# [tool.client.files]
# "tasks.py" = """
# from pathlib import Path
# import dramatiq
# from dramatiq.brokers.stub import StubBroker
#
# class Marks(dramatiq.Middleware):
#     def after_process_boot(self, broker):
#         double.send(21)
#
# broker = StubBroker()
# broker.add_middleware(Marks())
# dramatiq.set_broker(broker)
#
# @dramatiq.actor
# def double(x):
#     with open("log", "a") as stream:
#         stream.write(f"{2 * x}\\n")
# """
# ///

import signal
import subprocess
import sys
import time
from pathlib import Path


def main():
    log = Path("log")
    command = [sys.executable, "-m", "dramatiq", "--processes", "2", "--threads", "2", "tasks", "--path", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        while server.poll() is None and (not log.exists() or log.read_text().count("\n") < 2):
            time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        text, _ = server.communicate(timeout=60)
    print(server.returncode, "Traceback" in text, log.read_text() if log.exists() else text)


if __name__ == "__main__":
    main()
