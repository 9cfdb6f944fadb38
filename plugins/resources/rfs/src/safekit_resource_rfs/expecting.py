"""Syncs that are begun before they are asked for: of a file that is written so many times and then synced, again and
again, as a database does with its log. When the program asks, both disks are at it already.

What was begun after the last change of a file's data brings to the disk what a sync that begins now would."""

from __future__ import annotations

from typing import Final

from safekit_resource_rfs.disks import Disks
from safekit_resource_rfs.tree import Node

MAX_HABITS: Final = 256
"""Files that are looked at; those that were synced last."""


class _Habit:
    __slots__ = ("begun", "is_steady", "usual", "writes")

    def __init__(self) -> None:
        self.usual = 0
        """Writes before the last sync."""
        self.is_steady = False
        """As many as before the one before it."""
        self.writes = 0
        """Since the last sync."""
        self.begun: Disks | None = None


class Expecting:
    """Of syncs of data alone (fdatasync). Each other change of a file's data is to be told before it is made."""

    def __init__(self) -> None:
        self._habits: dict[Node, _Habit] = {}
        """Those that were synced last are last."""

    def writes(self, node: Node) -> bool:
        """It is about to be written. Whether its sync is expected after this."""
        habit = self._habits.get(node)
        if habit is None:
            return False
        if habit.begun is not None:  # it was expected too early
            habit.begun, habit.is_steady = None, False
        habit.writes += 1
        return habit.is_steady and habit.writes == habit.usual

    def began(self, node: Node, disks: Disks) -> None:
        self._habits[node].begun = disks

    def changes(self, node: Node) -> None:
        """It is about to be changed in another way, or synced in another way."""
        self._habits.pop(node, None)

    def asked(self, node: Node) -> Disks | None:
        """It is to be synced: what was begun already and did not fail."""
        habit = self._habits.pop(node, None) or _Habit()
        if len(self._habits) >= MAX_HABITS:
            del self._habits[next(iter(self._habits))]
        self._habits[node] = habit
        habit.is_steady = habit.writes == habit.usual
        habit.usual, habit.writes = habit.writes, 0
        begun, habit.begun = habit.begun, None
        return None if begun is None or begun.has_failed else begun
