"""Damages wire messages at random, and decodes them: an object or `pickle.UnpicklingError`, nothing else.

    python tests/fuzz/fuzz_wire.py [--seed N] [--rounds N]

The bytes of a pickle are left alone: they are the program of pickle's own machine, which allocates and calls what it is
told, so a message that says PICKLE is damaged in its frame only (tag, table, trailer, length). A mutation that makes
a pickle of a plain message is therefore not decoded; `Counts.left_out` says how many there were.
"""

import argparse
import pickle
import random
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.graphs import random_repeats, random_tree

from fastmp import _core

PICKLE, BUFFERS = 18, 19
SIZES = [0, 1, 2, 254, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


@dataclass
class Counts:
    """What became of the damaged messages."""

    decoded: int = 0
    refused: int = 0
    left_out: int = 0


def damage_once(r: random.Random, message: bytearray) -> None:
    """One bit, byte, size, cut, insertion or copied piece."""
    at = r.randrange(len(message) + 1)
    kind = r.randrange(6)
    if kind == 0 and message:
        message[at % len(message)] ^= 1 << r.randrange(8)
    elif kind == 1 and message:
        message[at % len(message)] = r.randrange(256)
    elif kind == 2:
        message[at : at + 9] = b"\xff" + struct.pack("<Q", r.choice(SIZES))
    elif kind == 3:
        del message[at : at + r.choice([1, 2, 8, 100])]
    elif kind == 4:
        message[at:at] = r.randbytes(r.randrange(1, 9))
    else:
        start = r.randrange(len(message) + 1)
        message[at:at] = message[start : start + r.randrange(64)]


def damage_frame(r: random.Random, message: bytearray, pickle_end: int) -> None:
    """Damage behind the pickle of a message with buffers: pads, buffers, table, trailer."""
    behind = message[pickle_end:]
    if r.random() < 0.5:  # an aimed one: a number of the table or of the trailer
        at = len(behind) - 8 * r.randrange(1, 7)
        behind[at : at + 8] = struct.pack("<Q", r.choice([*SIZES, r.randrange(len(message) * 2)]))
    else:
        damage_once(r, behind)
    message[pickle_end:] = behind


def with_buffers() -> tuple[bytes, int]:
    """A message with two buffers, and where its pickle ends."""
    message = _core.encode([pickle.PickleBuffer(bytearray(5000)), pickle.PickleBuffer(bytes(7000)), {1}])
    (pickle_bytes,) = struct.unpack_from("<Q", message, len(message) - 16)
    return message, 1 + pickle_bytes


def decode(message: bytearray, counts: Counts, owned: bool) -> None:
    try:
        _core.decode(message, message if owned else None)
        counts.decoded += 1
    except pickle.UnpicklingError:
        counts.refused += 1


def still_reads_its_pickle(message: bytearray, pickle_end: int) -> bool:
    """Does the damaged frame still name exactly the bytes of the pickle?"""
    if len(message) < 17 or message[0] != BUFFERS:
        return False
    return int(struct.unpack_from("<Q", message, len(message) - 16)[0]) == pickle_end - 1


def fuzz_plain(r: random.Random, counts: Counts) -> None:
    original = _core.encode(random_tree(r) if r.random() < 0.5 else random_repeats(r))
    for _ in range(8 if original[0] not in (PICKLE, BUFFERS) else 0):
        message = bytearray(original)
        for _ in range(r.randrange(1, 5)):
            damage_once(r, message)
        if message and message[0] in (PICKLE, BUFFERS):
            counts.left_out += 1
        else:
            decode(message, counts, owned=False)


def fuzz_frame(r: random.Random, counts: Counts, original: bytes, pickle_end: int) -> None:
    message = bytearray(original)
    damage_frame(r, message, pickle_end)
    # Another pickle than the one that was written is not ours to judge, unless it is the frame that refuses it.
    if not still_reads_its_pickle(message, pickle_end) and would_load(message):
        counts.left_out += 1
        return
    decode(message, counts, owned=r.random() < 0.5)


def would_load(message: bytearray) -> bool:
    """Does the trailer name a pickle that lies in the message?"""
    if len(message) < 17:
        return False
    pickle_bytes, buffers = struct.unpack_from("<QQ", message, len(message) - 16)
    return bool(pickle_bytes + buffers * 16 + 17 <= len(message))


def fuzz(seed: int, rounds: int) -> Counts:
    """Each round damages a plain message in eight ways, and one with buffers in one."""
    r, counts = random.Random(seed), Counts()
    original, pickle_end = with_buffers()
    for _ in range(rounds):
        fuzz_plain(r, counts)
        fuzz_frame(r, counts, original, pickle_end)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5_000)
    options = parser.parse_args()
    print(fuzz(options.seed, options.rounds))


if __name__ == "__main__":
    main()
