"""huey's consumer with two worker processes, a scheduler process, and events between them."""
# /// script
# dependencies = ["huey==3.5.4"]
# [tool.client]
# title = "huey: 2 worker processes"
# rounds = 1
# [tool.client.files]
# "tasks.py" = """
# from huey import SqliteHuey
#
# huey = SqliteHuey(filename="huey.db")
#
# @huey.task()
# def add(a, b):
#     return a + b
#
# @huey.task(retries=1)
# def fails():
#     raise KeyError("no")
# """
# ///

import signal
import subprocess
import sys

sys.path.insert(0, ".")


def main():
    from huey.exceptions import TaskException
    from tasks import add, fails

    command = [sys.executable, "-m", "huey.bin.huey_consumer", "tasks.huey", "-k", "process", "-w", "2", "-d", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as consumer:
        results = [add(n, n) for n in range(20)]
        print([result.get(blocking=True, timeout=60) for result in results])
        try:
            fails().get(blocking=True, timeout=60)
        except TaskException as error:
            print(error.metadata["error"])
        consumer.send_signal(signal.SIGINT)
        log, _ = consumer.communicate(timeout=60)
    print(consumer.returncode, log.count("executed in"), log.count("KeyError: 'no'"))


if __name__ == "__main__":
    main()
