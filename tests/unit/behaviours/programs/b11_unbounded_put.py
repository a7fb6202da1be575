"""11. An unbounded `put` never blocks without a reader; all items survive the child's normal exit, in order."""

from subject import SECONDS, ctx, say

COUNT = 20_000


def put_all(queue, done):
    for number in range(COUNT):
        queue.put((number, "x" * 100))
    queue.put(b"y" * 5_000_000)
    done.set()


def put_and_exit(queue, name):
    for number in range(2000):
        queue.put((name, number))


def main():
    for make in (ctx.Queue, ctx.JoinableQueue):
        queue, done = make(), ctx.Event()
        producer = ctx.Process(target=put_all, args=(queue, done))
        producer.start()
        say("put without a reader:", done.wait(SECONDS))
        say("in order:", all(queue.get(timeout=SECONDS) == (n, "x" * 100) for n in range(COUNT)))
        say("the large one:", len(queue.get(timeout=SECONDS)))
        producer.join()
        say("exit code:", producer.exitcode, queue.empty())
    queue = ctx.Queue()
    producers = [ctx.Process(target=put_and_exit, args=(queue, name)) for name in "ab"]
    for producer in producers:
        producer.start()
    items = [queue.get(timeout=SECONDS) for _ in range(4000)]
    for name in "ab":
        say("of", name, [n for whose, n in items if whose == name] == list(range(2000)))
    for producer in producers:
        producer.join()
        say(producer.exitcode)
    for number in range(COUNT):
        queue.put(number)
    say("in one process:", [queue.get() for _ in range(COUNT)] == list(range(COUNT)))


if __name__ == "__main__":
    main()
