"""20. `SharedMemory`: name visible, exact size, zeroed, pickles by name, BufferError while views are exported."""

import os
import pickle
from pathlib import Path

from subject import outcome, part, run, say

module = part("shared_memory")


def change(memory, by_name):
    memory.buf[:5] = b"child"
    other = module.SharedMemory(by_name)
    say("by name:", bytes(other.buf[:5]), other.size, other.name == by_name)
    other.close()
    memory.close()


def change_list(numbers):
    numbers[0] = -1
    say("in the child:", list(numbers))
    numbers.shm.close()


def main():
    memory = module.SharedMemory(create=True, size=100)
    say("visible:", Path("/dev/shm", memory.name.lstrip("/")).exists(), memory.size, len(memory.buf))
    say("zeroed:", bytes(memory.buf) == bytes(100), memory.buf.readonly, memory.buf.format)
    again = pickle.loads(pickle.dumps(memory))
    memory.buf[0] = 5
    say("pickles by name:", again.name == memory.name, again.buf[0], len(pickle.dumps(memory)) < 300)
    again.close()
    run(change, memory, memory.name)
    say(bytes(memory.buf[:5]))
    view = memory.buf[10:20]
    say("exported:", outcome(memory.close))
    view.release()
    say(outcome(memory.close), outcome(memory.close), memory.buf, outcome(lambda: memory.buf[0]).split("(")[0])
    memory.unlink()
    say("unlinked:", Path("/dev/shm", memory.name.lstrip("/")).exists(), outcome(memory.unlink).split("(")[0])
    say(outcome(module.SharedMemory, create=True, size=0), outcome(module.SharedMemory, create=True, size=-1))
    say(outcome(module.SharedMemory, "no-such-memory-at-all"), outcome(module.SharedMemory, create=True))
    name = f"test-b20-{os.getpid()}"
    named = module.SharedMemory(name, create=True, size=1)
    say("taken:", outcome(module.SharedMemory, name, create=True, size=1).split("(")[0], named.name == name)
    named.close()
    named.unlink()
    numbers = module.ShareableList([1, 2.5, "text", None, b"bytes", True])
    run(change_list, numbers)
    say(
        list(numbers), numbers[0], len(numbers), numbers.count(None), numbers.index("text"), outcome(lambda: numbers[9])
    )
    say(outcome(numbers.__setitem__, 2, "a text that is too long"), outcome(module.ShareableList, [[1]]).split("(")[0])
    numbers.shm.close()
    numbers.shm.unlink()


if __name__ == "__main__":
    main()
