"""The fence device, through its agent: options on standard input, one action a run, the answer by its exit status.

The convention is the fence agents' FenceAgentAPI: `off` ends with 0 when the power is cut; `status` with 0 when it is
on and 2 when it is off; `monitor` with 0, or 2 for a device of one outlet that is off; anything else is an error.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from safekit_resource_fence.config import GRACE_S, FenceConfig
from safekit_resource_fence.metadata import LIMIT_BYTES, Metadata, parse
from safekit_sdk import ConfigError
from safekit_sdk.process import Completed, Family, run

DONE: Final = 0
OFF: Final = 2
_PLACES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WORDS: Final = 300
"""Characters of an agent's output that are told."""
_PACKAGES: Final = {"fence_xvm": "fence-virt", "fence_virt": "fence-virt"}


@dataclass(frozen=True, slots=True)
class Answer:
    code: int | None
    """The exit status; None when it did not end in time or a signal ended it."""
    words: str
    """For people, on one line, without secrets."""


class Device:
    def __init__(self, config: FenceConfig, family: Family | None = None) -> None:
        self._config = config
        self._family = family
        self._metadata: Metadata | None = None

    async def ask(self, action: str, node: str, timeout_s: float) -> Answer:
        """ConfigError when the agent cannot be run or a secret is not there."""
        secrets = {name: _one_line(name, ref.reveal()) for name, ref in self._config.hidden(node).items()}
        lines = {**self._config.plain(node), **secrets, "nodename": node, "action": action}
        done = await self._run(lines, timeout_s, 16384)
        words = _without(done.why(), secrets.values())
        ended = not done.timed_out and done.returncode >= 0
        return Answer(done.returncode if ended else None, words[:40] + words[40:][-_WORDS:])

    async def metadata(self) -> Metadata:
        """Read once. ConfigError when the agent does not give it."""
        if self._metadata is None:
            done = await self._run({"action": "metadata"}, self._config.status_timeout.seconds, LIMIT_BYTES)
            if done.timed_out:
                raise ConfigError(f"the agent gives no metadata: {done.why()[:_WORDS]}", hint="try it by hand")
            self._metadata = parse(done.output)
        return self._metadata

    async def _run(self, lines: dict[str, str], timeout_s: float, limit_bytes: int) -> Completed:
        marker = self._family.environment if self._family else {}
        home = {"HOME": os.environ.get("HOME", "/")}
        return await run(
            [program(self._config.agent)],
            timeout_s=timeout_s,
            env={"PATH": _PLACES, "LC_ALL": "C.UTF-8", **home, **marker},
            stdin="".join(f"{name}={value}\n" for name, value in lines.items()).encode(),
            output_limit_bytes=limit_bytes,
            cgroup=self._family.home() if self._family else None,
            grace_s=GRACE_S,
        )


def program(agent: str) -> str:
    """The agent's path. ConfigError when it is not there."""
    found = shutil.which(agent, path=_PLACES)
    if found is None:
        package = _PACKAGES.get(agent.rpartition("/")[2], "fence-agents")
        raise ConfigError(
            f"the fence agent {agent} is not there or cannot be executed",
            hint=f"install it (on Debian the package {package}), or correct `agent:`",
        )
    return found


def _one_line(name: str, secret: str) -> str:
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in secret):
        raise ConfigError(f"the secret {name} has several lines or control characters", hint="give one line")
    return secret


def _without(text: str, secrets: Iterable[str]) -> str:
    """An agent that is asked to be verbose prints what it was told."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def findings(config: FenceConfig) -> list[str]:
    """What on this machine keeps the agent from working with this configuration, without a word to the device."""
    found = [f"{error.message}; {error.hint}" for error in _unrevealed(config)]
    try:
        with ThreadPoolExecutor(1) as thread:
            metadata = thread.submit(asyncio.run, Device(config).metadata()).result()
    except ConfigError as error:
        return [*found, f"{error.message}; {error.hint}"]
    nodes = config.nodes
    names = {name for node in nodes for name in (*config.plain(node), *config.hidden(node))}
    return [*found, *metadata.unknown(names), *lacking(config, metadata)]


def lacking(config: FenceConfig, metadata: Metadata) -> list[str]:
    """What the agent would have to be able to do."""
    if "off" not in metadata.actions:
        return [f"{config.agent} has no action off and can cut nobody; choose another agent"]
    if config.confirm and "status" not in metadata.actions:
        return [
            f"{config.agent} has no action status, so nothing confirms that a node is off; choose another agent, or "
            "say `confirm: false` and take the risk that both nodes run the module"
        ]
    return []


def _unrevealed(config: FenceConfig) -> list[ConfigError]:
    errors = []
    for secret in {ref.reference: ref for node in config.nodes for ref in config.hidden(node).values()}.values():
        try:
            secret.reveal()
        except ConfigError as error:
            errors.append(error)
    return errors
