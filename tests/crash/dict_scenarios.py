"""The shared dict: whoever changes it is killed; no other entry is lost, and nobody waits for the dead.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS.
"""

from collections.abc import Callable
from typing import Any

from case import Notes, Victim, die_at, finish, helper, wait_dead

import fastmp

ROUNDS = 60
SETTLED = {"a": 1, None: "two", (3,): [3], "large": "x" * 3000}


def change(table: Any, notes: Notes, own: int) -> None:
    """Puts, replaces and removes, so that the table moves several times; each step is noted before it is made."""
    for step in range(ROUNDS):
        notes[own] = step + 1
        table[own, step] = "y" * (step * 20)
        table[own] = step
        if step % 3 == 2:
            del table[own, step - 1]


def wanted(own: int, steps: int) -> dict[Any, Any]:
    """The entries of this process after so many whole steps."""
    entries: dict[Any, Any] = {}
    for step in range(steps):
        entries[own, step] = "y" * (step * 20)
        entries[own] = step
        if step % 3 == 2:
            del entries[own, step - 1]
    return entries


def states_within(own: int, step: int) -> list[dict[Any, Any]]:
    """All that may be left of one who was killed in step `step`, counted from 1."""
    states, entries = [wanted(own, step - 1)], wanted(own, step - 1)
    entries[own, step - 1] = "y" * ((step - 1) * 20)
    states.append(dict(entries))
    entries[own] = step - 1
    return [*states, entries, wanted(own, step)]


def check_table(table: Any, notes: Notes, victim: Victim) -> None:
    found = table.copy()
    assert {key: found.pop(key) for key in SETTLED} == SETTLED, "an entry was lost"
    for own in (1, 2):
        mine = {key: found.pop(key) for key in list(found) if key == own or (isinstance(key, tuple) and key[0] == own)}
        if own == 1 and victim.killed:
            assert notes[1] == 0 or mine in states_within(1, notes[1]), f"in step {notes[1]}: {mine}"
        else:
            assert mine == wanted(own, ROUNDS), f"process {own}: {mine}"
    assert not found, f"nobody has put {found}"
    assert len(table) == len(table.keys())


def changer_dies(victim: Victim) -> None:
    table, notes = fastmp.shared_dict(SETTLED), Notes(3)
    victim.start(change, table, notes, 1)
    other = helper(change, table, notes, 2)
    victim.join()
    finish(other)
    check_table(table, notes, victim)
    table["after"] = 1
    assert table.pop("after") == 1


def clearer_dies(victim: Victim) -> None:
    table = fastmp.shared_dict(SETTLED)
    victim.start(table.clear)
    victim.join()
    assert table.copy() in ({}, SETTLED)
    assert victim.killed or not table
    table.update(SETTLED)
    assert table.copy() == SETTLED


def heir_dies(victim: Victim) -> None:
    """One is killed with a new entry half made, its heir while he makes the rest anew."""
    table, notes = fastmp.shared_dict(SETTLED), Notes(3)

    def die() -> None:
        die_at("dict:ordered")
        table["half"] = 1

    first = helper(die)
    wait_dead(first.pid)
    victim.start(change, table, notes, 1)
    other = helper(change, table, notes, 2)
    victim.join()
    finish(other)
    first.join()
    check_table(table, notes, victim)


SCENARIOS: dict[str, Callable[[Victim], None]] = {
    "shared_dict, who changes it": changer_dies,
    "shared_dict, who clears it": clearer_dies,
    "shared_dict, who takes it over from the dead": heir_dies,
}
