"""What the seven steps of a notebook must print, whoever runs them: the user's notebook, and the project's own tour.

Output of several processes comes in any order, and `print` writes its line's end apart from the line, so nothing here
relies on whole lines: each check counts what must be there. Used by tests/notebook/test_notebook.py.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[str], None]


def found(pattern: str, text: str) -> list[str]:
    return sorted(re.findall(pattern, text))


def numbers(pattern: str, text: str) -> list[int]:
    return [int(number) for number in re.findall(pattern, text)]


@dataclass(frozen=True)
class Wording:
    """How one notebook says it: patterns with one group each, in the order of the steps."""

    process_begins: str
    process_ends: str
    counts: str
    pipe_replies: tuple[str, str]
    queue_message: str
    queue_messages: tuple[str, str]
    worker_closes: str
    doubled: str
    call_begins: str
    call_ends: str
    awaited: str

    def checks(self) -> dict[str, Check]:
        return {
            "processes": self.processes,
            "pool": self.pool,
            "lock": self.lock,
            "pipe": self.pipe,
            "queue": self.queue,
            "order": self.order,
            "futures": self.futures,
        }

    def processes(self, text: str) -> None:
        assert found(self.process_begins, text) == list("01234")
        assert found(self.process_ends, text) == list("01234")

    def pool(self, text: str) -> None:
        assert text.strip() == "[1, 4, 9, 16, 25]"

    def lock(self, text: str) -> None:
        assert sorted(numbers(self.counts, text)) == list(range(1, 21))

    def pipe(self, text: str) -> None:
        assert [text.count(reply) for reply in self.pipe_replies] == [1, 1]

    def queue(self, text: str) -> None:
        assert found(self.queue_message, text) == sorted(self.queue_messages)
        assert found(self.worker_closes, text) == list("012")

    def order(self, text: str) -> None:
        assert numbers(self.doubled, text) == [10, 4, 2, 6]

    def futures(self, text: str) -> None:
        assert sorted(numbers(self.call_begins, text)) == [1, 2, 3, 5]
        assert sorted(numbers(self.call_ends, text)) == [1, 2, 3, 5]
        assert numbers(self.awaited, text) == [5, 2, 1, 3]


STEPS = ("processes", "pool", "lock", "pipe", "queue", "order", "futures")
TUTORIAL = Wording(
    process_begins=r"Worker (\d) started",
    process_ends=r"Worker (\d) finished",
    counts=r"has updated the resource to (\d+)",
    pipe_replies=("Parent received response: Processed: hello", "Parent received response: Processed: world"),
    queue_message=r"Processed by worker \d: (hello|world)",
    queue_messages=("hello", "world"),
    worker_closes=r"Worker (\d) closing",
    doubled=r"Result: (\d+)",
    call_begins=r"worker_function\((\d)\) starting",
    call_ends=r"worker_function\((\d)\) finished",
    awaited=r"Result: (\d+)",
)
TOUR = Wording(
    process_begins=r"process (\d) begins",
    process_ends=r"process (\d) ends",
    counts=r"process [AB] counts (\d+)",
    pipe_replies=("answer: HELLO", "answer: WORLD"),
    queue_message=r"worker \d served (tea|coffee)",
    queue_messages=("tea", "coffee"),
    worker_closes=r"worker (\d) goes home",
    doubled=r"doubled: (\d+)",
    call_begins=r"call (\d) begins",
    call_ends=r"call (\d) ends",
    awaited=r"awaited: (\d+)",
)
