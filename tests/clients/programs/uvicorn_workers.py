"""uvicorn with two workers (spawned), on the loopback interface: requests, then the end by SIGTERM."""
# /// script
# dependencies = ["uvicorn==0.54.0"]
# [tool.client]
# title = "uvicorn: 2 workers"
# quick = true
# [tool.client.files]
# "app.py" = """
# async def app(scope, receive, send):
#     assert scope["type"] == "http"
#     await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
#     await send({"type": "http.response.body", "body": scope["path"].encode()})
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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
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
    options = ["--workers", "2", "--port", str(port), "--lifespan", "off", "--log-level", "info", "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", "app:app", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        print(get_when_it_is_up(server, port, "/first"))
        print([get(port, f"/{n}") for n in range(100)] == [f"/{n}" for n in range(100)])
        server.send_signal(signal.SIGTERM)
        log, _ = server.communicate(timeout=60)
    print(server.returncode, log.count("Started server process") >= 1, "Traceback" in log)
    try:
        get(port, "/after")
    except ConnectionRefusedError:
        print("closed")


if __name__ == "__main__":
    main()
