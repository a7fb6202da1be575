"""14. `queue._reader` is selectable with `fileno()`, for Queue and SimpleQueue."""

import asyncio
import select
import time

from subject import SECONDS, ctx, part, say


def put_later(queue, items):
    time.sleep(0.05)
    for item in items:
        queue.put(item)


def ready(queue, seconds=0):
    return bool(select.select([queue._reader], [], [], seconds)[0])


async def read_with_asyncio(queue, count):
    loop, items, done = asyncio.get_running_loop(), [], asyncio.Event()

    def take():
        items.append(queue.get())
        if len(items) == count:
            done.set()

    loop.add_reader(queue._reader.fileno(), take)
    await asyncio.wait_for(done.wait(), SECONDS)
    loop.remove_reader(queue._reader.fileno())
    return items


def main():
    for make in (ctx.Queue, ctx.JoinableQueue, ctx.SimpleQueue):
        queue = make()
        say(isinstance(queue._reader.fileno(), int), queue._reader.fileno() == queue._reader.fileno())
        say("empty:", ready(queue), queue._reader.poll())
        producer = ctx.Process(target=put_later, args=(queue, ["one", "two"]))
        producer.start()
        say("an item:", ready(queue, SECONDS), queue.get(), ready(queue, SECONDS), queue.get(), ready(queue))
        producer.join()
        queue.put(1)
        say("of this process:", ready(queue, SECONDS), queue._reader.poll(SECONDS), queue.get(), ready(queue))
        poller = select.poll()
        poller.register(queue._reader.fileno(), select.POLLIN)
        say("poll:", poller.poll(0), part("connection").wait([queue._reader], 0))
        queue.put(2)
        say("poll:", len(poller.poll(SECONDS * 1000)), part("connection").wait([queue._reader]) == [queue._reader])
        say(queue.get())
        producer = ctx.Process(target=put_later, args=(queue, list("abcde")))
        producer.start()
        say("asyncio:", asyncio.run(read_with_asyncio(queue, 5)))
        producer.join()


if __name__ == "__main__":
    main()
