"""Asks the module's witness, one call after the other: of several that wait only the last one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from safekit.bus.messages import AskWitness, WitnessSaid
from safekit.engine.actions import WitnessCall
from safekit.plugins import RAISED
from safekit_sdk import Lease, PluginError, Refusal, SafekitError, Witness


class Asking:
    """`subject`: what the witness knows the module by, unique among all clusters."""

    def __init__(self, witness: Witness[Any], subject: str, node: str, say: Callable[[WitnessSaid], None]) -> None:
        self._witness = witness
        self._subject = subject
        self._node = node
        self._say = say
        self._waiting: AskWitness | None = None
        self._work: asyncio.Task[None] | None = None

    def ask(self, asked: AskWitness) -> None:
        self._waiting = asked
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._ask_all())

    async def _ask_all(self) -> None:
        while (asked := self._waiting) is not None:
            self._waiting = None
            self._say(await self._answer(asked))

    async def _answer(self, asked: AskWitness) -> WitnessSaid:
        try:
            async with asyncio.timeout(self._witness.config.timeout.seconds):
                said = await self._call(asked)
        except TimeoutError:
            why = f"no answer within {self._witness.config.timeout}"
        except SafekitError as error:
            why = f"{error.message} ({error.hint})" if error.hint else error.message
        except RAISED as error:  # a plugin's door
            why = f"{type(error).__name__}: {error}"
        else:
            return said
        return WitnessSaid(number=asked.number, reached=False, text=why[:4000])

    async def _call(self, asked: AskWitness) -> WitnessSaid:
        subject, node = self._subject, self._node
        match asked.call:
            case WitnessCall.ACQUIRE:
                answer = await self._witness.acquire(subject, node, asked.epoch, asked.after)
            case WitnessCall.RENEW:
                answer = await self._witness.renew(subject, node, asked.epoch)
            case WitnessCall.RELEASE:
                await self._witness.release(subject, node, asked.epoch)
                return WitnessSaid(number=asked.number, reached=True, text="the lease is given back")
            case WitnessCall.PROBE:
                text = await self._witness.probe(subject, node)
                return WitnessSaid(number=asked.number, reached=True, text=str(text)[:4000])
        if isinstance(answer, Lease):
            text = f"{node} has the lease, epoch {answer.epoch}"
            return WitnessSaid(
                number=asked.number, reached=True, granted=True, epoch=answer.epoch, ttl_s=answer.ttl_s, text=text
            )
        if isinstance(answer, Refusal):
            return WitnessSaid(number=asked.number, reached=True, text=answer.reason[:4000])
        raise PluginError(f"the witness answered with {type(answer).__name__}, not with a lease or a refusal")

    async def close(self) -> None:
        """What is asked, a release above all, is asked to its end; each call is bounded by its timeout."""
        if self._work is not None:
            await asyncio.wait([self._work], timeout=2 * self._witness.config.timeout.seconds)
            self._work.cancel()
        try:
            async with asyncio.timeout(1.0):
                await self._witness.close()
        except RAISED as error:  # a plugin's door; the process ends in any case
            self._say(WitnessSaid(number=0, reached=False, text=f"its end failed: {error}"[:4000]))
