"""Subclasses that reach inside a queue, as loky's do: they are the standard library's, and work under install()."""

import threading
from multiprocessing import queues as standard
from multiprocessing.connection import Connection as Listened

import pytest
from support.programs import output_of

import fastmp
from fastmp import queues
from fastmp._queue_insides import INSIDES, QueueType, reaches_inside


class Counted(queues.Queue):
    """Reaches inside: its state is made of the locks."""

    def __init__(self, maxsize=0, *, ctx):
        super().__init__(maxsize, ctx=ctx)
        self.puts = 0

    def put(self, obj, block=True, timeout=None):
        self.puts += 1
        super().put(obj, block, timeout)

    def locks(self):
        return self._rlock, self._wlock, self._sem


class Own(queues.SimpleQueue):
    def put(self, obj):
        with self._wlock:
            self._writer.send(obj)


class Named(queues.JoinableQueue):
    """Does not."""

    name = "a queue"

    def describe(self):
        return f"{self.name}: {self.qsize()}"


def test_who_reaches_inside_gets_the_standard_queue():
    assert not isinstance(Counted, QueueType)
    assert issubclass(Counted, standard.Queue)
    queue = Counted(3, ctx=fastmp.get_context())
    assert all(queue.locks())
    assert isinstance(queue._reader, Listened)
    child = fastmp.Process(target=queue.put, args=("from the child",))
    child.start()
    assert queue.get(timeout=20) == "from the child"
    child.join()
    queue.put(1)
    assert queue.puts == 1
    assert queue.get(timeout=20) == 1
    queue.close()
    queue.join_thread()
    queue._reader.close()


def test_a_simple_queue():
    queue = Own(ctx=fastmp.get_context())
    queue.put("x")
    assert queue.get() == "x"
    queue.close()


def test_who_does_not_keeps_the_ring():
    assert isinstance(Named, QueueType)
    queue = Named(ctx=fastmp.get_context())
    queue.put(1)
    assert queue.describe() == "a queue: 1"
    assert not isinstance(queue, standard.Queue)


@pytest.mark.parametrize("name", sorted(INSIDES))
def test_each_part_is_seen(name):
    space = {}
    exec(f"def method(self): return self.{name}", space)
    assert reaches_inside([staticmethod(space["method"])])
    assert not reaches_inside([threading.Lock, 1, "self._rlock", lambda self: self._maxsize])


def test_under_install():
    lines = output_of("""
        import fastmp
        fastmp.install()
        import multiprocessing
        from multiprocessing.queues import Queue

        class Inside(Queue):
            def locks(self):
                return self._rlock, self._wlock, self._sem

        queue = Inside(ctx=multiprocessing.get_context())
        child = multiprocessing.Process(target=queue.put, args=(1,))
        child.start()
        print(queue.get(), type(queue._reader).__module__, len(queue.locks()), queue._reader._is_ring())
        child.join()
    """)
    assert lines == ["1 fastmp.connection 3 False"]
