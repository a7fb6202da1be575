"""gunicorn with two workers, which use a Pool and a Queue of their own: forked by it, not by multiprocessing."""
# /// script
# dependencies = ["gunicorn==27.0.1"]
# [tool.client]
# title = "gunicorn: 2 workers with pools"
# [tool.client.files]
# "app.py" = """
# import multiprocessing
# import os
#
# inherited = multiprocessing.Queue()  # made before gunicorn forks its workers
# counter = multiprocessing.Value("i", 0)
#
# def double(x):
#     return 2 * x
#
# def app(environ, start_response):
#     with counter.get_lock():
#         counter.value += 1
#     inherited.put(environ["PATH_INFO"])
#     pool = multiprocessing.Pool(1)
#     body = f"{pool.map(double, range(4))} {inherited.get()}"
#     pool.close()  # not terminate: its worker has gunicorn's handler for SIGTERM
#     pool.join()
#     start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
#     return [body.encode()]
# """
# ///

import signal
import subprocess
import sys

from parts.web import free_port, get, get_when_it_is_up


def main():
    port = free_port()
    options = ["--workers", "2", "--preload", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", *options, "app:app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        print(get_when_it_is_up(server, port, "/first"))
        print([get(port, f"/{n}") for n in range(10)])
        server.send_signal(signal.SIGTERM)
        log, _ = server.communicate(timeout=60)
    print(server.returncode, "Traceback" in log)


if __name__ == "__main__":
    main()
