"""The words that Podman and Docker have in common, said to the one that is configured."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_podman.config import PodmanConfig
from safekit_podman.plan import Spec, planned
from safekit_sdk import ConfigError
from safekit_sdk.installed import CLEAN, find_program
from safekit_sdk.process import Completed, run

ASK_S: Final = 20.0
BASE: Final = {**CLEAN, "HOME": "/root"}
STEP: Final = "safekit.step"
"""The label of a step's containers."""


@dataclass(frozen=True, slots=True)
class Engine:
    config: PodmanConfig
    step: str
    """The name of its only container, of its network, and with a service's after it of any other."""
    environment: Mapping[str, str]

    async def say(self, *words: str, timeout_s: float = ASK_S) -> Completed:
        return await run([*argv(self.config), *words], timeout_s=timeout_s, env=self.environment, cwd=Path("/"))

    async def do(self, *words: str, timeout_s: float = ASK_S) -> str:
        """ConfigError in the engine's own words."""
        done = await self.say(*words, timeout_s=timeout_s)
        if not done.ok:
            hint = f"try it: `{' '.join(self.config.engine)} {words[0]}`; does the engine run?"
            raise ConfigError(f"{self.config.engine[0]} {words[0]}: {done.why()}", hint=hint)
        return done.output.strip()

    def name(self, service: str) -> str:
        return f"{self.step}-{service}" if service else self.step

    async def create(self, spec: Spec, log: Path, secret: Path, marker: Mapping[str, str]) -> None:
        """No restart of the engine's own: that is the module's matter. Without the time to stop, a removal by force is
        at once; a stop names its own. What a compose file has of an environment goes by the file `secret`."""
        own = ["--name", self.name(spec.service), "--restart=no", "--pull=never", "--stop-timeout=0"]
        own += [f"--label={STEP}={self.step}", *(f"--env={name}={value}" for name, value in marker.items())]
        # Docker's log has its place; Podman's is where the last words are looked for.
        if Path(self.config.engine[0]).name == "podman":
            own += ["--log-driver=k8s-file", f"--log-opt=path={log}", "--log-opt=max-size=16mb"]
        with _in_file(secret, spec.environment) as environment:
            await self.do("create", *own, *environment, *spec.words, spec.image, *spec.command)

    async def main_pid(self, service: str) -> int:
        """0 when it does not run."""
        done = await self.say("container", "inspect", "--format", "{{.State.Pid}}", self.name(service))
        text = done.output.strip()
        return int(text) if done.ok and text.isdigit() else 0

    async def remove(self, timeout_s: float) -> bool:
        """All of the step, by force, also those of an earlier compose file; whether there is none any more."""
        found = await self._containers(timeout_s)
        if found.timed_out:
            return False
        if names := found.output.split():
            await self.say("rm", "--force", *names, timeout_s=timeout_s)
            found = await self._containers(timeout_s)
        return found.ok and not found.output.strip()

    async def _containers(self, timeout_s: float) -> Completed:
        asked = ("ps", "--all", "--filter", f"label={STEP}={self.step}", "--format", "{{.Names}}")
        return await self.say(*asked, timeout_s=timeout_s)

    async def make_network(self) -> None:
        """Its containers find each other by the names of their services in it."""
        if not (await self.say("network", "inspect", self.step)).ok:
            await self.do("network", "create", f"--label={STEP}={self.step}", self.step)

    async def remove_network(self, timeout_s: float) -> None:
        await self.say("network", "rm", self.step, timeout_s=timeout_s)


@contextlib.contextmanager
def _in_file(file: Path, environment: Mapping[str, str]) -> Iterator[list[str]]:
    """The option that reads it; only root can, and only as long as it is needed."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.writelines(f"{name}={value}\n" for name, value in environment.items())
        yield [f"--env-file={file}"]
    finally:
        file.unlink()


def argv(config: PodmanConfig) -> list[str]:
    """ConfigError that says what to install."""
    first, *others = config.engine
    given = Path(first) if first.startswith("/") else None
    return [str(find_program(given, first, packages="docker.io" if first == "docker" else "")), *others]


def objections(config: PodmanConfig) -> list[str]:
    """What of the images and the directories is missing; for where nothing asynchronous may be. ConfigError."""
    specs = planned(config, "")
    places = dict.fromkeys(place for spec in specs for place in spec.seen)
    found = [f"{place} is not there; create it" for place in places if not place.exists()]
    images = dict.fromkeys(spec.image for spec in specs)
    return found + [said for image in images if (said := _without(config, image))]


def _without(config: PodmanConfig, image: str) -> str:
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    asked = [*argv(config), "image", "inspect", image]
    try:
        done = subprocess.run(asked, env=BASE, cwd="/", timeout=ASK_S, check=False, **quiet)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{asked[0]} cannot be asked: {error}"
    if done.returncode == 0:
        return ""
    words = " | ".join(done.stderr.decode(errors="replace").splitlines()[-2:])
    return f"the image {image} is not on this node ({words}); `{config.engine[0]} pull {image}`"
