"""The greatest epoch that was given to anyone else, for whoever asks: two numbers and a name are enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Past:
    """What was given, to however many nodes. Its epochs only grow."""

    node: str = ""
    """To which the greatest epoch was given."""
    epoch: int = 0
    others: int = 0
    """The greatest that was given to any node but that one."""

    def also(self, node: str, epoch: int) -> Past:
        """When this was given, too; in any order."""
        if node == self.node:
            return replace(self, epoch=max(epoch, self.epoch))
        if epoch < self.epoch:
            return replace(self, others=max(epoch, self.others))
        return Past(node, epoch, others=max(self.epoch, self.others))

    def to_others_than(self, node: str) -> tuple[str, int]:
        """To whom, empty when it is not known any more, and the epoch; 0 for none."""
        if node != self.node and self.epoch >= self.others:
            return self.node, self.epoch
        return "", self.others


NO_PAST: Final = Past()


def unknown(below: int) -> Past:
    """Anybody may have been given any epoch up to this one."""
    return Past(others=below)
