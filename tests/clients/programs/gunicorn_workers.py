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

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def get_when_it_is_up(server, port, path):
    while server.poll() is None:
        try:
            return get(port, path)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise RuntimeError(server.stdout.read())


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
