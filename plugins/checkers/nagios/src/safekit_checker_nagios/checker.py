"""Up while a Monitoring plugin says OK."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from safekit_checker_nagios.config import NagiosConfig
from safekit_checker_nagios.perfdata import Output, read_metrics, read_output
from safekit_checker_nagios.program import Program, search_path
from safekit_sdk import Checker, ConfigError, Context, Health, ModuleKind, Verdict
from safekit_sdk.process import Completed
from safekit_sdk.surroundings import account

REASON_CHARS = 400
METRICS_MAX = 28
"""With the checker's own these are as many facts as a verdict can have."""
_STATES = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}


class NagiosChecker(Checker[NagiosConfig], api=1):
    """Up while a Monitoring plugin (Nagios, Icinga) says OK; its performance data become facts."""

    facts: ClassVar[Mapping[str, str]] = {
        "state": "what the plugin said: OK, WARNING, CRITICAL, UNKNOWN",
        "took_ms": "how long it ran",
        "*": "each of its performance data by its label, as it wrote it",
    }

    def __init__(self, config: NagiosConfig, context: Context) -> None:
        super().__init__(config, context)
        self._program = Program(config, context)

    async def check(self) -> Verdict:
        try:
            done = await self._program.run()
        except ConfigError as error:
            return Verdict.unknown(_one_line(str(error)))
        output = read_output(done.output)
        said = output.text or next((line for line in reversed(done.errors.splitlines()) if line.strip()), "")
        if trouble := self._trouble(done):
            return Verdict.unknown(_one_line(f"{self.config.label} {trouble}{': ' * bool(said)}{said}"))
        return self._verdict(done, said, output)

    async def close(self) -> None:
        self._program.close()

    def _trouble(self, done: Completed) -> str:
        """Why it said nothing; empty when it said something."""
        if done.timed_out:
            return f"had not ended after {self.config.patience_s:g} s and was killed"
        if done.returncode < 0:
            return f"was killed by {_signal_name(-done.returncode)}"
        if done.returncode not in _STATES:
            return f"exited with status {done.returncode}, which means nothing (0 to 3 do)"
        return ""

    def _verdict(self, done: Completed, said: str, output: Output) -> Verdict:
        state = _STATES[done.returncode]
        reason = _one_line(said) or f"{self.config.label} says {state} and no more"
        facts = {"state": state, "took_ms": f"{done.duration_s * 1000:.0f}"}
        return Verdict(self._health(state), reason, facts | _metrics(output.perfdata, frozenset(facts)))

    def _health(self, state: str) -> Health:
        meaning = {"OK": Health.UP, "WARNING": Health(self.config.warning), "CRITICAL": Health.DOWN}
        return meaning.get(state, Health.UNKNOWN)

    @classmethod
    def ident(cls, config: NagiosConfig) -> str:
        """The name of the plugin."""
        safe = re.sub(r"[^A-Za-z0-9_.:-]+", "_", config.name or config.label)[:63]
        return safe if re.match(r"[A-Za-z0-9_]", safe) else f"_{safe[:62]}"

    @classmethod
    def preflight(cls, config: NagiosConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        found = []
        if shutil.which(config.command[0], path=search_path()) is None:
            found.append(f"the plugin {config.command[0]} is not there or not executable; install its package")
        if not (config.directory or Path("/")).is_dir():
            found.append(f"the directory {config.directory} is not there; make it, or correct `directory:`")
        if config.user is not None and not account(config.user):
            found.append(f"there is no user '{config.user}'; create it, or name another one")
        return found


def _metrics(perfdata: str, taken: frozenset[str]) -> dict[str, str]:
    """By label; one that the checker uses itself has a prefix."""
    metrics = read_metrics(perfdata)
    kept = {f"perf.{one.label}" if one.label in taken else one.label: one.measured for one in metrics[:METRICS_MAX]}
    left_out = len(metrics) - METRICS_MAX
    return kept | ({"metrics_left_out": str(left_out)} if left_out > 0 else {})


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _one_line(text: str) -> str:
    """Without line ends and other control characters, and bounded."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:REASON_CHARS]
