"""7. `sentinel` works in `connection.wait`; `wait([], 0) == []`."""

import select
import socket
import time

from subject import SECONDS, ctx, mp, part, say

wait = part("connection").wait


def nothing():
    pass


def send_later(connection, seconds):
    time.sleep(seconds)
    connection.send("a message")


def main():
    say(wait([], 0), wait([], 0.01), wait([], -1))
    quick = ctx.Process(target=nothing)
    slow = ctx.Process(target=time.sleep, args=(SECONDS,))
    slow.start()
    quick.start()
    say("sentinels are numbers:", isinstance(quick.sentinel, int))
    say("wait:", wait([slow.sentinel, quick.sentinel], SECONDS) == [quick.sentinel])
    say("again:", wait([quick.sentinel], 0) == [quick.sentinel], wait([slow.sentinel], 0), wait([slow.sentinel], 0.01))
    say("select:", select.select([slow.sentinel, quick.sentinel], [], [], 0)[0] == [quick.sentinel])
    reader, writer = ctx.Pipe(duplex=False)
    near, far = socket.socketpair()
    queue = ctx.Queue()
    everything = [slow.sentinel, reader, near, queue._reader]
    say("nothing is ready:", wait(everything, 0), wait(everything, -1))
    sender = ctx.Process(target=send_later, args=(writer, 0.05))
    sender.start()
    say("a message:", wait(everything, SECONDS) == [reader], reader.recv())
    far.send(b"x")
    queue.put("an item")
    say("two:", wait([queue._reader], SECONDS) == [queue._reader], wait(everything, SECONDS) == [near, queue._reader])
    say(near.recv(1), queue.get())
    say("a generator:", wait((thing for thing in everything), 0))
    slow.kill()
    say("the end of a process:", wait(everything, SECONDS) == [slow.sentinel])
    slow.join()
    say("still after join:", wait([slow.sentinel], SECONDS) == [slow.sentinel])
    writer.close()
    sender.join()
    say("an end of file:", wait([reader], SECONDS) == [reader])
    parent = mp.parent_process()
    say("main has no parent:", parent)
    child = ctx.Process(target=parent_is_there)
    child.start()
    child.join()


def parent_is_there():
    say("the parent lives:", wait([mp.parent_process().sentinel], 0))


if __name__ == "__main__":
    main()
