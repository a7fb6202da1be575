"""What all worlds of the random killing have in common. Called by: the modules of worlds, episode.py."""

import random
from typing import Any, ClassVar

from stage import Board, Clock, Director, Group, Log, Storm, fork


class World:
    """Objects, and the groups of actors that work on them. Made before the actors are forked."""

    #: Its share of the kills is smaller where a kill takes long.
    cost: ClassVar[float] = 1.0

    def __init__(self, draw: random.Random, board: Board) -> None:
        self.draw, self.board = draw, board
        self._stop = board.take()
        self.groups: list[Group] = []

    @property
    def stopping(self) -> bool:
        return self.board[self._stop] != 0

    def stop(self) -> None:
        self.board[self._stop] = 1

    def group(self, name: str, body: Any, count: int, **options: Any) -> Group:
        """One more group of actors."""
        made = Group(name, body, count, self.new_log, **options)
        self.groups.append(made)
        return made

    def new_log(self) -> Log:
        return Log(self.board, self.board.take(Log.SIZE))

    def begin_storm(self, storm: Storm) -> None:
        """Any fault point may kill the actors."""
        for group in self.groups:
            if group.mortal:
                group.storm = storm

    def describe(self) -> str:
        return type(self).__name__

    def finish(self, director: Director) -> None:
        """Nobody is killed any more: all actors end by themselves."""
        self.stop()
        for group in self.groups:
            director.dismiss(group)

    def check(self, clock: Clock) -> None:
        """What has been lost, and whether the objects still work."""

    def extra_kills(self) -> int:
        """How many processes the actors themselves have killed."""
        return 0


def kills_of(*groups: Group) -> int:
    """How many actors of these groups were killed."""
    return sum(group.killed for group in groups)


__all__ = ["World", "fork", "kills_of"]
