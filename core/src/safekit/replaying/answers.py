"""What a witness says to an engine that asks it at other times than the one of the record did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from safekit.engine.actions import Action, AskWitness, WitnessCall
from safekit.engine.events import Event, WitnessAnswered
from safekit.engine.module import Module

ANSWER_S: Final = 0.01


class Answers:
    """By what it said last on record, to the same question. A lease that it has not given there is refused."""

    def __init__(self) -> None:
        self._said: dict[str, WitnessAnswered] = {}
        self._due: list[tuple[float, WitnessAnswered]] = []

    def begin(self) -> None:
        """What was granted to the engine of the record before they parted says nothing of now."""
        self._said.pop(WitnessCall.ACQUIRE, None)
        self._due.clear()

    def note(self, event: Event, asker: Module | None) -> None:
        if isinstance(event, WitnessAnswered) and asker is not None and asker.right.number == event.number:
            self._said[asker.right.call] = event

    def ask(self, actions: Iterable[Action], at_s: float) -> None:
        for asked in actions:
            if isinstance(asked, AskWitness):
                known = self._said.get(asked.call) or WitnessAnswered(
                    asked.module, 0, reached=True, text="it is refused"
                )
                epoch = max(known.epoch, asked.epoch) if known.granted else known.epoch
                self._due.append((at_s + ANSWER_S, replace(known, number=asked.number, epoch=epoch)))

    def take(self, at_s: float) -> list[WitnessAnswered]:
        """Those that have come until now."""
        come = [answer for due_s, answer in self._due if due_s <= at_s]
        self._due = [(due_s, answer) for due_s, answer in self._due if due_s > at_s]
        return come
