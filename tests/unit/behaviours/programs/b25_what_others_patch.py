"""25. What others patch keeps working: `ForkingPickler.register/dumps`, `util.Finalize`, `util.get_logger`, subclasses
of `queues.Queue(ctx=)` and of Pool with its static `Process`, `BaseProcess._bootstrap` (coverage does), ThreadPool,
Manager proxies.
"""

import logging
import multiprocessing.process
import multiprocessing.queues

from subject import SECONDS, ctx, mp, part, run, say


class Plain:
    def __init__(self, text):
        self.text = text


def reduce_plain(plain):
    return Plain, (plain.text + " through a reducer",)


part("reduction").ForkingPickler.register(Plain, reduce_plain)


def echo(reader, queue):
    queue.put(reader.recv())


def text_of(plain):
    return plain.text


class CountingQueue(part("queues").Queue):
    def __init__(self, maxsize=0, *, ctx):
        super().__init__(maxsize, ctx=ctx)
        self.puts = 0

    def put(self, obj, block=True, timeout=None):
        self.puts += 1
        super().put(("counted", obj), block, timeout)

    if hasattr(part("queues").Queue, "__getstate__"):

        def __getstate__(self):
            return super().__getstate__(), self.puts

        def __setstate__(self, state):
            super().__setstate__(state[0])
            self.puts = state[1]


def put_one(queue):
    queue.put("from the child")


class NamedPool(part("pool").Pool):
    made = 0

    @staticmethod
    def Process(ctx, *args, **options):
        NamedPool.made += 1
        process = ctx.Process(*args, **options)
        process.name = f"made by a subclass {NamedPool.made}"
        return process


class OwnProcess(ctx.Process):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def run(self):
        say("run() of a subclass:", self.value, self.name.rpartition("-")[0])


def hooked(original=multiprocessing.process.BaseProcess._bootstrap):
    def bootstrap(self, *args, **options):
        say("the patched bootstrap runs for", self.name)
        return original(self, *args, **options)

    return bootstrap


def say_hello():
    say("hello")


def log_from_child():
    logger = mp.get_logger()
    say("the child's logger:", logger is part("util").get_logger(), logger.name)


def finalizers():
    calls = []

    class Owner:
        pass

    owner = Owner()
    finalizer = part("util").Finalize(owner, calls.append, ("owner died",))
    say(finalizer.still_active())
    del owner
    say(calls, finalizer.still_active())
    by_hand = part("util").Finalize(None, calls.append, ("by hand",), exitpriority=5)
    by_hand()
    say(calls, by_hand())
    part("util").Finalize(None, say, ("Finalize at exit",), exitpriority=5)


def managers():
    with ctx.Manager() as manager:
        shared, items, space = manager.dict(a=1), manager.list([1, 2]), manager.Namespace(x=5)
        run(change_proxies, shared, items, space)
        say(dict(shared), list(items), space.x, shared["a"], type(shared).__name__)
        queue, lock, event = manager.Queue(), manager.Lock(), manager.Event()
        queue.put(5)
        event.set()
        with lock:
            say(queue.get(), event.is_set(), queue.empty())
        with ctx.Pool(1) as pool:
            say("a proxy as an argument:", pool.apply(sum, (items,)))


def change_proxies(shared, items, space):
    shared["b"] = 2
    items.append(3)
    space.x += 1


def main():
    pickler = part("reduction").ForkingPickler
    say(pickler.loads(pickler.dumps(Plain("dumps"))).text)
    reader, writer = ctx.Pipe(False)
    queue = ctx.Queue()
    writer.send(Plain("a pipe"))
    run(echo, reader, queue)
    say(queue.get(timeout=SECONDS).text)
    with NamedPool(2, context=ctx) as pool:
        say(pool.apply(text_of, (Plain("an argument"),)), pool.apply(Plain, ("a result",)).text)
        say(NamedPool.made, sorted(process.name for process in pool._pool))
    own = CountingQueue(ctx=ctx)
    own.put(1)
    say(own.get(timeout=SECONDS), own.puts, isinstance(own, part("queues").Queue))
    run(put_one, own)
    say(own.get(timeout=SECONDS), own.puts)
    OwnProcess(7).run()
    process = OwnProcess(8)
    process.start()
    process.join()
    finalizers()
    run(log_from_child)
    logger = mp.get_logger()
    say(logger is part("util").get_logger(), logger is logging.getLogger("multiprocessing"), logger.level)
    say(part("pool").ThreadPool(2).map(len, ["a", "bc"]))
    managers()


if __name__ == "__main__":
    multiprocessing.process.BaseProcess._bootstrap = hooked()
    run(say_hello, name="hooked")
    multiprocessing.process.BaseProcess._bootstrap = hooked.__defaults__[0]
    main()
