"""Machines that are processes, and an agent that cuts them off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "hunter-of-two"


@dataclass(frozen=True, slots=True)
class Power:
    """The device: `node1` and `node2` are plugs of it."""

    place: Path
    machines: dict[str, subprocess.Popen[bytes]]

    @property
    def agent(self) -> str:
        return str(self.place / "fence_process")

    @property
    def settings(self) -> dict[str, Any]:
        """With short limits; `start_timeout` follows the rest of the defaults."""
        return {
            "agent": self.agent,
            "options": {"ip": "192.0.2.9", "verbose": True},
            "nodes": {"node1": {"plug": "node1"}, "node2": {"plug": "node2"}},
            "secrets": {"password": f"file:{self.place}/secret"},
            "interval": "1s",
        }

    def mode(self, **modes: str | list[str]) -> None:
        """How the agent behaves at an action: one word for ever, or several, of which the last stays."""
        listed = {action: [mode] if isinstance(mode, str) else mode for action, mode in modes.items()}
        (self.place / "modes").write_text(json.dumps(listed))

    def runs(self, node: str) -> bool:
        return self.machines[node].poll() is None

    def calls(self) -> list[dict[str, Any]]:
        log = self.place / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    async def is_asked(self, action: str) -> None:
        """Return when the agent got it; a test's own limit bounds the wait."""
        asked = asyncio.Event()
        while not asked.is_set():
            if action in self.actions():
                asked.set()
            await asyncio.sleep(0.01)

    def actions(self) -> list[str]:
        """Without the reading of metadata."""
        return [action for call in self.calls() if (action := call["told"]["action"]) != "metadata"]


@contextlib.contextmanager
def a_power(place: Path) -> Iterator[Power]:
    """The agent is `fence_process` in this directory, which is made."""
    place.mkdir()
    (place / "secret").touch(mode=0o600)
    (place / "secret").write_text(f"{SECRET}\n")
    agent = place / "fence_process"
    agent.write_text(f"#!{sys.executable} -IS\n{(Path(__file__).parent / 'process_agent.py').read_text()}")
    agent.chmod(0o755)
    power = Power(place, {node: subprocess.Popen(["/bin/sleep", "600"]) for node in ("node1", "node2")})
    for node, machine in power.machines.items():
        (place / node).write_text(str(machine.pid))
    power.mode()
    try:
        yield power
    finally:
        for machine in power.machines.values():
            machine.kill()
            machine.wait()
