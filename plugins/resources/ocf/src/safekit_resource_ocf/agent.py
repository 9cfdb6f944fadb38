"""Runs one agent: an action at a time, within its bounds, with all that the Resource Agent API has it told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_ocf import pacemaker
from safekit_resource_ocf.agents import PATH, SCRATCH, identity
from safekit_resource_ocf.codes import meaning
from safekit_resource_ocf.config import OcfConfig
from safekit_sdk import ConfigError, Context
from safekit_sdk.process import Completed, Family, run

_NEED_SECRETS: Final = ("start", "promote")
FEATURE_SET: Final = "3.16.2"
"""Of Pacemaker 2.1.5, whose way of calling is followed."""
OUTPUT_BYTES: Final = 1 << 20
"""What agents and the daemons that they leave may have written before it is dropped."""
LOOK_S: Final = 0.25
GRACE_S: Final = 0.5
"""How long an agent that took too long may take to end after SIGTERM."""
_WORDS: Final = 300
_REASON: Final = re.compile(r"^ocf-exit-reason:(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int | None
    """The exit code; None when it did not end in time, or a signal ended it."""
    words: str
    """For people, on one line, without secrets."""
    timed_out: bool
    duration_s: float


class Agent:
    def __init__(self, config: OcfConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self.family = Family.of(context, f"ocf.{context.name}")
        self._refused = context.run_dir / "refused"
        self._said: set[str] = set()
        self._programs: Path | None = None

    @property
    def attributes(self) -> Path:
        """Those that the agent set and that a reboot forgets, its promotion score among them."""
        return self._context.run_dir / "attributes"

    @property
    def instance(self) -> str:
        """Unlike that of any other resource of this machine."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", f"{self._context.module}-{self._context.name}")

    async def act(
        self, action: str, timeout_s: float, *, interval_s: float = 0.0, more: Mapping[str, str] | None = None
    ) -> Answer:
        """ConfigError when the agent cannot be executed or a secret is not there."""
        secrets = self._reveal(needed=action in _NEED_SECRETS or interval_s > 0)
        environment = {**self._environment(action, timeout_s, interval_s), **(more or {})}
        environment |= {f"OCF_RESKEY_{name}": value for name, value in secrets.items()}
        SCRATCH.mkdir(mode=0o1755, parents=True, exist_ok=True)
        async with self._bounded_output() as output:
            done = await run(
                [str(self._config.path), action],
                timeout_s=timeout_s,
                env=environment,
                cwd=Path("/"),
                output=output,
                cgroup=self.family.home(),
                grace_s=GRACE_S,
            )
        self._tell_refused()
        return _answer(done, secrets.values())

    def _reveal(self, *, needed: bool) -> dict[str, str]:
        """A secret that is not there any more keeps nothing from being stopped."""
        found = {}
        for name, secret in self._config.secrets.items():
            try:
                found[name] = secret.reveal()
            except ConfigError as error:
                if needed:
                    raise
                self._context.log(f"{name}: {error.message}; the agent is called without it")
        return found

    @contextlib.asynccontextmanager
    async def _bounded_output(self) -> AsyncIterator[Path]:
        """A file, as a daemon that the agent leaves has the same output, and may write to it for years."""
        path = self._context.state_dir / "output.log"

        async def drop() -> None:
            while True:
                _bound(path)
                await asyncio.sleep(LOOK_S)

        dropping = asyncio.create_task(drop())
        try:
            yield path
        finally:
            dropping.cancel()
            await asyncio.gather(dropping, return_exceptions=True)

    def _environment(self, action: str, timeout_s: float, interval_s: float) -> dict[str, str]:
        programs = self._programs = self._programs or _install_programs(self._context.run_dir / "pacemaker")
        meta = {"timeout": f"{timeout_s * 1000:.0f}", "interval": f"{interval_s * 1000:.0f}"}
        meta |= {"name": action, "on_node": self._context.node, **(_CLONE if self._config.promotable else {})}
        if self._config.promotable:
            meta["notify"] = str(self._config.notify).lower()
        return {
            **identity(self._config.path),
            **self.family.environment,
            "PATH": f"{programs}:{PATH}",
            "HA_SBIN_DIR": str(programs),
            "OCF_RESOURCE_INSTANCE": self.instance,
            "OCF_RESKEY_crm_feature_set": FEATURE_SET,
            "OCF_CHECK_LEVEL": str(self._config.check_level if action == "monitor" and interval_s else 0),
            pacemaker.NODE: self._context.node,
            pacemaker.REBOOT: str(self.attributes),
            pacemaker.FOREVER: str(self._context.state_dir / "attributes"),
            pacemaker.REFUSED: str(self._refused),
            **{f"OCF_RESKEY_CRM_meta_{name}": value for name, value in meta.items()},
            **{f"OCF_RESKEY_{name}": value for name, value in self._config.plain.items()},
        }

    def _tell_refused(self) -> None:
        """Each once, to the module's log: what the agent wanted of Pacemaker and did not get."""
        try:
            lines = self._refused.read_text(errors="replace").splitlines()
        except OSError:
            return
        self._refused.unlink(missing_ok=True)
        for line in lines[:20]:
            if line not in self._said and len(self._said) < 200:
                self._said.add(line)
                self._context.log(f"{self._config.agent} called {line}")


_CLONE: Final = {
    "clone": "0",
    "clone_max": "2",
    "clone_node_max": "1",
    "globally_unique": "false",
    "interleave": "false",
    "master_max": "1",
    "master_node_max": "1",
    "promoted_max": "1",
    "promoted_node_max": "1",
}
"""A mirror, in the words that Pacemaker has for a promotable clone."""


def _bound(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > OUTPUT_BYTES:
            os.truncate(path, 0)


def _install_programs(directory: Path) -> Path:
    """The stand-ins for Pacemaker's programs, in a directory that is on the PATH of this agent only."""
    call = shlex.join([sys.executable, "-I", "-S", pacemaker.__file__])
    for name in pacemaker.PROGRAMS:
        path = directory / name
        text = f'#!/bin/sh\nexec {call} {name} "$@"\n'
        if not path.is_file() or path.read_text() != text:
            directory.mkdir(mode=0o755, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
    return directory


def _answer(done: Completed, secrets: Iterable[str]) -> Answer:
    code = None if done.timed_out or done.returncode < 0 else done.returncode
    reasons = _REASON.findall(done.output)
    words = done.why() if code is None else meaning(code)
    said = reasons[-1].strip() if reasons else done.why().partition(": ")[2] if code is not None else ""
    return Answer(code, _plain(f"{words}: {said}" if said else words, secrets), done.timed_out, done.duration_s)


def _plain(text: str, secrets: Iterable[str]) -> str:
    """On one line, cut, without what must not be read."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= _WORDS else f"{text[:80]} … {text[-_WORDS + 83 :]}"
