"""Up while another module is in the state that it should be in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from safekit_checker_module.config import ModuleConfig
from safekit_checker_module.judging import Answers, judge, newest_epoch
from safekit_sdk import Checker, Context, Health, SafekitError, Verdict

REASON_CHARS = 400


class ModuleChecker(Checker[ModuleConfig], api=1):
    """Up while another module of this cluster is in the state that it should be in, on this node or on any."""

    facts: ClassVar[Mapping[str, str]] = {
        "node": "where it is so",
        "state": "of the other module there",
        "readiness": "Ready, Transient or NotReady",
        "epoch": "it grows each time that the service is started",
        "why": "the other module's own reason",
    }

    def __init__(self, config: ModuleConfig, context: Context) -> None:
        super().__init__(config, context)
        self._epoch: int | None = None
        self._looked_s = -float("inf")

    async def check(self) -> Verdict:
        config, context = self.config, self.context
        if config.module == context.module and config.on in ("this", context.node):
            return Verdict.unknown(f"module {config.module} is this one; it cannot wait for itself")
        try:
            async with asyncio.timeout(config.patience_s):
                answers = await context.module_states(config.module)
        except (SafekitError, TimeoutError) as error:
            silent = f"safekitd did not answer within {config.patience_s:g} s"
            return Verdict.unknown(" ".join(str(error).split())[:REASON_CHARS] or silent)
        verdict = judge(config, context.node, answers)
        again = self._started_again(answers) if config.restarted else ""
        if again and verdict.health is Health.UP:
            return Verdict.down(again, **verdict.facts)
        return verdict

    def _started_again(self, answers: Answers) -> str:
        """What was before this module's own start is past: checks that are far apart are not compared."""
        now_s = asyncio.get_running_loop().time()
        recent = now_s - self._looked_s < 2 * (self.config.interval.seconds + self.config.timeout.seconds)
        before = self._epoch if recent else None
        now = newest_epoch(self.config, self.context.node, answers)
        self._epoch, self._looked_s = before if now is None else now, now_s
        if before is None or now is None or now <= before:
            return ""
        return f"module {self.config.module} was started anew (epoch {now}, before it was {before})"

    @classmethod
    def ident(cls, config: ModuleConfig) -> str:
        """`db` on this node, `db.any` or `db.node2` elsewhere."""
        return config.name or (config.module if config.on == "this" else f"{config.module}.{config.on}")[:63]
