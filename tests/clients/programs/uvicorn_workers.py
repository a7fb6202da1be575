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

import signal
import subprocess
import sys

from parts.web import free_port, get, get_when_it_is_up


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
