"""What is promised, by name, and the end of a history that shows that it is not kept."""

from __future__ import annotations

from enum import StrEnum


class Promise(StrEnum):
    ONE_PRIMARY = "one primary"
    PRIMARIES_PART = "two primaries part"
    ONE_STOPS = "of two primaries one stops"
    LOSER_IS_RIGHT = "who stops in favour of another is right"
    SILENCE_IS_REAL = "silence is real"
    WORD_IS_NEW = "a word is not believed after a sleep"
    SAFETY_WAITS = "safety waits"
    LEASE_FIRST = "a lease first"
    DATA_FIRST = "the data first"
    SAID_IS_TRUE = "what is said is true"
    EPOCH_GROWS = "the epoch grows"
    DISK_FIRST = "the disk first"
    FAILED_IS_STOPPED = "what failed is stopped"
    THAWED_STOPS = "what thaws too late stops"
    ONE_SERVER = "one server for a bucket"
    SERVED = "every bucket is served"
    COMES_TO_REST = "it comes to rest"
    STAYS_AT_REST = "it stays at rest"
    SURVIVES = "one node survives"
    STOPS = "it stops"
    NO_ERROR = "no event is an error"


class ViolationError(AssertionError):
    """A promise is not kept. The message says which node, when and how."""

    def __init__(self, promise: Promise, text: str) -> None:
        super().__init__(text)
        self.promise = promise
