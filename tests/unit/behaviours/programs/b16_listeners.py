"""16. Listener/Client authenticate and stay wire-compatible with the standard library's; a wrong key is an
AuthenticationError.
"""

import multiprocessing
import multiprocessing.connection as standard

from subject import ctx, describe, outcome, part, say

subject = part("connection")


def talk(which, address, authkey):
    module = subject if which == "subject" else standard
    try:
        with module.Client(address, authkey=authkey) as connection:
            connection.send({"a": [1, 2.5, "three"]})
            connection.send_bytes(b"x" * 100_000)
            say(which, "was told", connection.recv(), connection.recv_bytes())
            say("the end:", outcome(connection.recv))
    except Exception as error:
        say("the client:", describe(error))


def answer(connection):
    say(connection.recv(), len(connection.recv_bytes()))
    connection.send(("an", "answer"))
    connection.send_bytes(b"bytes")
    connection.close()


def serve(listener_module, client, family, listener_key, client_key):
    with listener_module.Listener(family=family, authkey=listener_key) as listener:
        process = ctx.Process(target=talk, args=(client, listener.address, client_key))
        process.start()
        accepted = outcome_of_accept(listener)
        process.join()
        say("the listener:", accepted, process.exitcode)


def outcome_of_accept(listener):
    try:
        connection = listener.accept()
    except multiprocessing.AuthenticationError as error:
        return describe(error)
    answer(connection)
    return type(connection).__name__


def main():
    for family in ("AF_UNIX", "AF_INET"):
        for key in (None, b"a key"):
            say(family, key)
            serve(subject, "subject", family, key, key)
            serve(subject, "standard", family, key, key)
            serve(standard, "subject", family, key, key)
    say("another key:")
    serve(subject, "standard", "AF_UNIX", b"one", b"another")
    serve(standard, "subject", "AF_UNIX", b"one", b"another")
    serve(subject, "subject", "AF_UNIX", b"one", b"another")
    say(outcome(subject.Listener, authkey="text"), outcome(subject.Client, "/nonexistent/socket"))
    say(outcome(subject.Client, ("localhost", 1), authkey=5), outcome(subject.Listener, family="AF_NONE"))
    listener = subject.Listener()
    listener.close()
    say("closed:", outcome(listener.accept), outcome(listener.close))


if __name__ == "__main__":
    main()
