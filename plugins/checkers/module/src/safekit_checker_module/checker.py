"""Up while another module is in the state that it should be in."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from safekit_checker_module.answers import Answers, read_answers
from safekit_checker_module.config import ModuleConfig
from safekit_checker_module.judging import judge, newest_epoch
from safekit_sdk import Checker, ConfigError, Context, Health, ModuleKind, Verdict
from safekit_sdk.process import run

OUTPUT_BYTES = 4 << 20
"""The most that is read of an answer: some hundred modules on some nodes are a tenth of it."""
REASON_CHARS = 400


class ModuleChecker(Checker[ModuleConfig], api=1):
    """Up while another module of this cluster is in the state that it should be in, on this node or on any."""

    def __init__(self, config: ModuleConfig, context: Context) -> None:
        super().__init__(config, context)
        self._epoch: int | None = None
        self._looked_s = -float("inf")

    async def check(self) -> Verdict:
        config, context = self.config, self.context
        if config.module == context.module and config.on in ("this", context.node):
            return Verdict.unknown(f"module {config.module} is this one; it cannot wait for itself")
        try:
            answers = await self._ask()
        except (ConfigError, ValueError) as error:
            return Verdict.unknown(" ".join(str(error).split())[:REASON_CHARS])
        verdict = judge(config, context.node, answers)
        again = self._started_again(answers) if config.restarted else ""
        if again and verdict.health is Health.UP:
            return Verdict.down(again, **verdict.facts)
        return verdict

    async def _ask(self) -> Answers:
        """ConfigError or ValueError when nothing of use was printed."""
        words = [str(_program(self.config)), "status", self.config.module, "-o", "json"]
        environment = {**os.environ, "NO_COLOR": "1"}
        done = await run(
            words,
            timeout_s=self.config.patience_s,
            env=environment,
            output_limit_bytes=OUTPUT_BYTES,
            grace_s=0.0,
        )
        if not done.ok:
            raise ValueError(f"`safekit status`: {done.why()}")
        try:
            return read_answers(done.output)
        except ValueError:
            raise ValueError(f"`safekit status` printed something else: {done.output[:REASON_CHARS]!r}") from None

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

    @classmethod
    def preflight(cls, config: ModuleConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        program = _program(config)
        if os.access(program, os.X_OK):
            return []
        return [f"the command {program} is not there or not executable; install safekit, or correct `program:`"]


def _program(config: ModuleConfig) -> Path:
    return config.program or Path(sys.executable).with_name("safekit")
