"""Managers: proxies call over pipes where they can, over the standard library's sockets where they cannot."""

import os
import queue
import threading
from multiprocessing import managers as standard

import pytest
from support.programs import output_of, python
from support.targets import append_for_ever

import fastmp
from fastmp import managers

CLIENT = """
import sys
from {module}.managers import SyncManager

class Client(SyncManager):
    pass

Client.register("shared", proxytype=None)
manager = Client(address={address!r}, authkey={key!r})
manager.connect()
shared = manager.shared()
shared.update({{"client": 1}})
print(shared.copy(), getattr(shared._tls.connection, "_is_ring", bool)())
"""
FIRST_CALL = """
import sys
import fastmp

def call(shared, imported):
    before = set(sys.modules)
    shared["child"] = 1
    imported.put(sorted(set(sys.modules) - before))

ctx = fastmp.get_context("fork")
with ctx.Manager() as manager:
    shared, imported = manager.dict(), ctx.SimpleQueue()
    child = ctx.Process(target=call, args=(shared, imported))
    child.start()
    print(imported.get())
    child.join()
"""
SHARED: dict[str, int] = {"server": 0}


def get_shared():
    return SHARED


class Served(managers.SyncManager):
    pass


Served.register("shared", get_shared)


class Referent:
    """What its methods return or raise is not plain."""

    def unpicklable(self):
        return threading.Lock()

    def unpicklable_error(self):
        raise ValueError(threading.Lock())

    def named(self, *args, **kwds):
        return args, kwds

    def exit(self):
        raise SystemExit(3)

    def hidden(self):
        raise AssertionError("it is not exposed")


class OwnLoop(managers.Server):
    """A server with a loop of its own, which sees each request."""

    def serve_client(self, conn):
        ident, name, args, kwds = conn.recv()
        conn.send(("#RETURN", (ident in self.id_to_obj, name, args, kwds)))
        conn.recv()


class Looping(managers.SyncManager):
    _Server = OwnLoop


Served.register("Referent", Referent, exposed=("unpicklable", "unpicklable_error", "named", "exit"))


def by_pipe(proxy):
    """Whether this thread's calls of a proxy, of which there has been one, go over a pipe."""
    return isinstance(proxy._tls.connection, fastmp.connection.Connection) and proxy._tls.connection._is_ring()


@pytest.fixture
def manager(ctx):
    with ctx.Manager() as manager:
        yield manager


def test_calls_go_over_a_pipe(manager):
    shared = manager.dict(a=1)
    assert shared.copy() == {"a": 1}
    assert by_pipe(shared)
    assert isinstance(shared, managers.BaseProxy)
    assert isinstance(shared, standard.BaseProxy)


def test_a_child_has_a_pipe_of_its_own(ctx, manager):
    shared = manager.dict()
    shared["here"] = 1
    child = ctx.Process(target=shared.update, args=({"there": 2},))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert shared.copy() == {"here": 1, "there": 2}


def test_each_thread_has_a_pipe_of_its_own(manager):
    counts = manager.dict()
    pipes = set()

    def count(name):
        for number in range(100):
            counts[name] = number
        pipes.add(counts._tls.connection)

    threads = [threading.Thread(target=count, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts.copy() == dict.fromkeys("abc", 99)
    assert len(pipes) == 3


def test_a_forked_child_calls_without_importing():
    assert output_of(FIRST_CALL) == ["[]"]


@pytest.mark.parametrize("make", ["Queue", "list", "dict", "Event", "Lock", "Condition", "Namespace", "Pool"])
def test_every_proxy_has_a_pipe(make):
    with fastmp.Manager() as manager:
        proxy = getattr(manager, make)()
        assert isinstance(proxy, managers.BaseProxy)
        assert str(proxy)
        assert by_pipe(proxy)
        rebuild, arguments = proxy.__reduce__()
        again = rebuild(*arguments[:3], {**arguments[3], "authkey": manager._authkey})
        assert isinstance(again, managers.BaseProxy)
        assert type(again) is type(proxy)


def test_errors_come_as_they_were(manager):
    with pytest.raises(KeyError, match="missing"):
        manager.dict()["missing"]
    with pytest.raises(queue.Empty):
        manager.Queue().get(timeout=0.01)
    with pytest.raises(TypeError, match="cannot pickle"):
        manager.dict(a=1).setdefault("a", threading.Lock())
    with pytest.raises(AttributeError, match="nothing"):
        manager.Namespace().nothing  # noqa: B018


def test_answers_that_are_not_plain():
    with Served() as manager:
        referent = manager.Referent()
        assert referent.named(1, [2], three={"four": 5}) == ((1, [2]), {"three": {"four": 5}})
        assert by_pipe(referent)
        for name in ("unpicklable", "unpicklable_error"):
            with pytest.raises(standard.RemoteError, match="cannot pickle"):
                getattr(referent, name)()
        with pytest.raises(standard.RemoteError, match=r"'hidden' of <class '.*Referent'> object is not in exposed"):
            referent._callmethod("hidden")
        assert sorted(iter(manager.dict(a=1, b=2))) == ["a", "b"]  # through a proxy that the server makes
        assert referent._callmethod("named", kwds={"k": 1}) == ((), {"k": 1})
        with pytest.raises(EOFError):
            referent.exit()


@pytest.mark.parametrize("how", ["subclass", "patched"])
def test_a_server_with_a_loop_of_its_own_sees_the_requests(how, monkeypatch):
    if how == "patched":
        monkeypatch.setattr(standard.Server, "serve_client", OwnLoop.serve_client)
    ctx = fastmp.get_context("fork")  # whose server is patched as well
    with Looping(ctx=ctx) if how == "subclass" else managers.SyncManager(ctx=ctx) as manager:
        shared = manager.dict()
        assert shared._callmethod("copy", (1, 2), {"k": 3}) == (True, "copy", (1, 2), {"k": 3})
        assert by_pipe(shared)


def test_a_proxy_with_a_callmethod_of_its_own():
    class Logging(managers.DictProxy):
        def _callmethod(self, methodname, args=(), kwds={}):  # noqa: B006
            names.append(methodname)
            return super()._callmethod(methodname, args, kwds)

    names = []
    with fastmp.Manager() as manager:
        shared = manager.dict()
        logging = Logging(shared._token, shared._serializer, manager, authkey=manager._authkey)
        logging["a"] = 1
        assert logging["a"] == 1
        assert names == ["__setitem__", "__getitem__"]


def test_a_stopped_server_answers_no_more():
    server = fastmp.managers.Server({}, None, b"key", "pickle")
    server.stop_event = threading.Event()
    server.id_to_obj["event"] = server.stop_event, {"set", "is_set"}, None
    mine, theirs = fastmp.Pipe()
    mine.__class__, mine.server = managers._ServedPipe, server
    with mine, theirs, server.listener:
        for method in ("is_set", "set", "is_set"):
            theirs.send(("event", method, (), {}))
        with pytest.raises(SystemExit):
            server.serve_client(mine)
        assert [theirs.recv(), theirs.recv()] == [("#RETURN", False), ("#RETURN", None)]
        assert not theirs.poll()


def test_values_of_every_size(manager):
    shared = manager.list()
    for size in (0, 1, 1000, 1 << 16, 1 << 22):
        shared.append(os.urandom(size))
    assert [len(value) for value in shared] == [0, 1, 1000, 1 << 16, 1 << 22]


def test_a_killed_server(manager):
    shared = manager.dict(a=1)
    assert shared["a"] == 1
    assert by_pipe(shared)
    (server,) = fastmp.active_children()
    server.kill()
    server.join()
    with pytest.raises((EOFError, OSError)):
        shared["a"]


def test_a_killed_client_disturbs_nobody(ctx, manager):
    shared = manager.list()
    child = ctx.Process(target=append_for_ever, args=(shared,))
    child.start()
    while len(shared) < 10:
        pass
    child.kill()
    child.join()
    before = len(shared)
    shared.append(None)
    assert len(shared) - before in (1, 2)  # what the dead had in hand may have come after


def start_server(address):
    server = Served(address=address, authkey=b"key")
    server.start()
    return server


@pytest.mark.parametrize("module", ["fastmp", "multiprocessing"])
def test_a_client_of_another_family(module):
    with start_server(None) as server:
        done = python("-c", CLIENT.format(module=module, address=server.address, key=b"key"))
        assert done.stdout.startswith("{'server': 0, 'client': 1}"), done.stderr
        assert server.shared().copy() == {"server": 0, "client": 1}


def test_by_tcp_there_is_no_pipe():
    with start_server(("127.0.0.1", 0)) as server:
        shared = server.shared()
        assert shared.get("server") == 0
        assert not by_pipe(shared)


def test_a_server_without_pipes():
    class Plain(managers.SyncManager):
        _Server = standard.Server

    with Plain() as manager:
        shared = manager.dict(a=1)
        assert shared.copy() == {"a": 1}
        assert not by_pipe(shared)
        assert manager.list([1])[0] == 1  # the second one does not ask again
        assert manager.address in managers._no_pipes


def test_another_serializer_has_no_pipe():
    with managers.SyncManager(serializer="xmlrpclib") as manager:
        shared = manager.list([1, 2])
        assert shared.index(2) == 1
        assert not by_pipe(shared)
