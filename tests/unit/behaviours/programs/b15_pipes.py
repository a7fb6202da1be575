"""15. Pipe: EOFError, BrokenPipeError, OSError "handle is closed", `BufferTooShort.args[0]` holds the message, simplex
direction.
"""

from subject import SECONDS, ctx, error_class, mp, outcome, run, say


def send_and_end(connection):
    connection.send("the last words")
    connection.send_bytes(b"and bytes")


def receive_one(connection):
    say("in the child:", connection.recv())


def bytes_into(connection, size):
    buffer = bytearray(size)
    return connection.recv_bytes_into(buffer), bytes(buffer)


def too_short(connection, size):
    try:
        bytes_into(connection, size)
    except mp.BufferTooShort as error:
        return type(error).__name__, error.args, isinstance(error, mp.ProcessError)
    return "nothing"


def ends_of_file():
    near, far = ctx.Pipe()
    say(near.readable, near.writable, far.readable, far.writable, near.closed)
    process = ctx.Process(target=send_and_end, args=(far,))
    process.start()
    far.close()
    say(near.poll(SECONDS), near.recv(), near.recv_bytes())
    say("the other end is gone:", outcome(near.recv), outcome(near.recv_bytes), outcome(bytes_into, near, 4))
    process.join()
    say(near.poll(), near.poll(0.01), outcome(near.send, 1), outcome(near.send_bytes, b"x"))
    near.close()


def closed_ones():
    near, far = ctx.Pipe()
    near.close()
    say(near.closed, outcome(near.close))
    calls = [near.recv, near.recv_bytes, near.poll, near.fileno, lambda: near.send(1), lambda: near.send_bytes(b"x")]
    for call in [*calls, lambda: near.recv_bytes_into(bytearray(3)), lambda: near.__enter__().closed]:
        say("closed:", outcome(call))
    say("the other end:", outcome(far.recv), outcome(far.send, 1), far.poll())
    far.close()
    with ctx.Pipe()[0] as end:
        say("with:", end.closed)
    say("after with:", end.closed)


def simplex():
    reader, writer = ctx.Pipe(duplex=False)
    say(reader.readable, reader.writable, writer.readable, writer.writable)
    say("reader:", outcome(reader.send, 1), outcome(reader.send_bytes, b"x"))
    say("writer:", outcome(writer.recv), outcome(writer.recv_bytes), outcome(writer.poll))
    say("writer:", outcome(bytes_into, writer, 3))
    writer.send(5)
    say(reader.recv())
    writer.close()
    say(outcome(reader.recv))
    reader, writer = ctx.Pipe(False)
    reader.close()
    say("nobody reads:", outcome(writer.send, 1))


def bytes_and_lengths():
    near, far = ctx.Pipe()
    far.send_bytes(b"a message")
    say("too short:", too_short(near, 3))
    far.send_bytes(b"the next")
    say(bytes_into(near, 8), outcome(near.poll))
    far.send_bytes(b"0123456789", 2)
    far.send_bytes(b"0123456789", 2, 3)
    far.send_bytes(b"0123456789", 10)
    say(near.recv_bytes(), near.recv_bytes(), near.recv_bytes())
    for arguments in ((b"abc", 4), (b"abc", -1), (b"abc", 1, 3), (b"abc", 0, -1)):
        say("send_bytes", arguments, outcome(far.send_bytes, *arguments))
    say("no bytes:", error_class(far.send_bytes, "text"), error_class(far.send_bytes, 5))
    far.send_bytes(b"long one")
    say("maxlength:", outcome(near.recv_bytes, -1), outcome(near.recv_bytes, 100))
    far.send_bytes(b"12345678")
    buffer = bytearray(10)
    say(near.recv_bytes_into(buffer, 2), bytes(buffer))
    for offset in (-1, 11):
        say("offset", outcome(near.recv_bytes_into, bytearray(10), offset))
    far.send_bytes(b"1234")
    say("read-only:", error_class(near.recv_bytes_into, b"1234"))
    far.send_bytes(b"too long for that")
    say(outcome(near.recv_bytes, 3))
    say("afterwards:", outcome(far.send_bytes, b"x"))


def main():
    ends_of_file()
    closed_ones()
    simplex()
    bytes_and_lengths()
    near, far = ctx.Pipe()
    near.send({"to": "the child"})
    run(receive_one, far)
    far.send([1, 2])
    say(near.poll(), near.recv(), outcome(near.send, lambda: 0).split("(")[0], near.poll())


if __name__ == "__main__":
    main()
