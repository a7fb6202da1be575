"""What the programs that run a web server ask of it."""

import contextlib
import http.client
import socket
import time


def free_port():
    """A port of the loopback interface that nobody uses."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def get(port, path="/"):
    """The body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def get_when_it_is_up(server, port, path="/"):
    """The first answer of a server that is being started; RuntimeError with what it has printed, if it ends."""
    while server.poll() is None:
        try:
            return get(port, path)
        except ConnectionError:
            time.sleep(0.02)
    raise RuntimeError(server.stdout.read())
