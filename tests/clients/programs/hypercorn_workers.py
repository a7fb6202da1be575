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

import signal
import subprocess
import sys

from parts.web import free_port, get, get_when_it_is_up


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
