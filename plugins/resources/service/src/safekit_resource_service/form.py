"""What the three forms of a service have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from safekit_resource_service.surroundings import Surroundings
from safekit_sdk import Status, Transition


class Form(ABC):
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.config = around.config
        self.change = Transition("", "", "")
        """The change of the module's state that the present call belongs to."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self, force: bool) -> None: ...

    @abstractmethod
    async def status(self) -> Status: ...

    @abstractmethod
    async def main_pid(self) -> int | None:
        """The living main process; None when it is dead or not known."""

    @abstractmethod
    def watches_a_process(self) -> bool:
        """Whether there is a main process whose death is the death of the service."""

    async def transition(self, change: Transition) -> None:
        """The module's state changes; for those that want to know."""
        self.change = change

    def last_words(self) -> str:
        """How the main process ended, when that is known."""
        return ""
