"""hypercorn with two workers, made by spawn: it hands them its sockets and an event."""
# /// script
# dependencies = ["hypercorn==0.18.0"]
# [tool.client]
# title = "hypercorn: 2 workers (spawn)"
# rounds = 1
# [tool.client.files]
# "app.py" = """
# async def app(scope, receive, send):
#     if scope["type"] == "http":
#         await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
#         await send({"type": "http.response.body", "body": b"ok"})
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


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def get_when_it_is_up(server, port):
    while server.poll() is None:
        try:
            return get(port)
        except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
            time.sleep(0.02)
    raise RuntimeError(server.stdout.read())


def main():
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", "-w", "2", "--bind", f"127.0.0.1:{port}", "app:app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        print(get_when_it_is_up(server, port))
        print([get(port) for _ in range(20)])
        server.send_signal(signal.SIGTERM)
        log, _ = server.communicate(timeout=60)
    print(server.returncode, "Traceback" in log)


if __name__ == "__main__":
    main()
