"""libvirt, asked by its own program `virsh`: no binding to compile, and each question has a bound of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_resource_kvm_vm.definition import SIZE_MAX, Definition
from safekit_sdk import ConfigError
from safekit_sdk.parentage import end_with_parent
from safekit_sdk.process import Completed, run
from safekit_sdk.surroundings import search_path

ASK_S: Final = 10.0
CREATE_S: Final = 120.0
AGENT_SLACK_S: Final = 5.0
_MISSING: Final = ("failed to get domain", "Domain not found")
_PING: Final = '{"execute":"guest-ping"}'
_LINE_MAX: Final = 4096


def clean_environment() -> dict[str, str]:
    return {"LC_ALL": "C", "PATH": search_path(), "HOME": "/"}


@dataclass(frozen=True, slots=True)
class State:
    """As `virsh domstate --reason` has it: `paused`, `I/O error`."""

    word: str
    reason: str

    @property
    def runs(self) -> bool:
        return self.word in ("running", "idle", "in shutdown", "no state")

    def __str__(self) -> str:
        return f"{self.word} ({self.reason})" if self.reason else self.word


@dataclass(frozen=True, slots=True)
class Libvirt:
    uri: str
    domain: str

    async def virsh(self, *words: str, timeout_s: float = ASK_S) -> Completed:
        return await run(
            self._argv(words),
            timeout_s=timeout_s,
            env=clean_environment(),
            cwd=Path("/"),
            output_limit_bytes=SIZE_MAX,
            errors_apart=True,
            grace_s=0.0,
        )

    async def state(self, timeout_s: float = ASK_S) -> State | None:
        """None when libvirt has no such domain. ConfigError when libvirt does not answer."""
        done = await self.virsh("domstate", self.domain, "--reason", timeout_s=timeout_s)
        if done.ok:
            word, _, reason = done.output.strip().partition(" (")
            return State(word, reason.rstrip(")"))
        if any(words in done.errors for words in _MISSING):
            return None
        raise _silent(done)

    async def create(self, definition: Path) -> None:
        """Its QEMU is there when this returns, and the guest does not run yet."""
        done = await self.virsh("create", str(definition), "--paused", timeout_s=CREATE_S)
        if not done.ok:
            raise ConfigError(f"{self.domain}: {_words(done)}", hint=f"mend {definition}, or what it needs here")

    async def resume(self) -> None:
        done = await self.virsh("resume", self.domain)
        if not done.ok:
            raise ConfigError(
                f"{self.domain} cannot be resumed: {_words(done)}", hint="its log in /var/log/libvirt says more"
            )

    async def restore(self, memory: Path, timeout_s: float) -> None:
        """As `create`, with a memory that was saved: the guest goes on where it was."""
        done = await self.virsh("restore", str(memory), "--paused", timeout_s=timeout_s)
        if not done.ok:
            raise ConfigError(f"{self.domain} cannot go on: {_words(done)}", hint="its QEMU's log says more")

    async def live_definition(self) -> Definition:
        """Of what runs, as another libvirt needs it to go on with its memory."""
        done = await self.virsh("dumpxml", self.domain, "--migratable", "--security-info")
        if not done.ok:
            raise ConfigError(f"{self.domain}: {_words(done)}", hint="look with `virsh list`")
        return Definition.parse(done.output, f"libvirt's {self.domain}")

    async def monitor(self, command: str, arguments: Mapping[str, str] | None = None, fd: int | None = None) -> Any:
        """What QEMU's own monitor answers; libvirt has no word for it. A descriptor is handed over with it."""
        asked = json.dumps({"execute": command, "arguments": dict(arguments or {})})
        passed = () if fd is None else ("--pass-fds", str(fd))
        words = ("qemu-monitor-command", self.domain, *passed, asked)
        process = await self._begun(*words, stderr=subprocess.PIPE, pass_fds=() if fd is None else (fd,))
        try:
            async with asyncio.timeout(ASK_S):
                output, errors = await process.communicate()
        except TimeoutError:
            raise ConfigError(f"QEMU's monitor does not answer to {command}", hint="does libvirtd run?") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _answer(command, output, errors)

    async def press_power_button(self) -> bool:
        return (await self.virsh("shutdown", self.domain, "--mode", "acpi")).ok

    async def destroy(self) -> None:
        """Its answer is not believed: what counts is that QEMU is gone."""
        await self.virsh("destroy", self.domain)

    async def persistent(self) -> Definition | None:
        """What libvirt keeps of it on this node beyond its run; nothing while safekit manages it."""
        if not (info := await self._info()) or info.get("Persistent") != "yes":
            return None
        done = await self.virsh("dumpxml", self.domain, "--inactive", "--security-info")
        return Definition.parse(done.output, f"libvirt's {self.domain}") if done.ok else None

    async def is_autostarted(self) -> bool:
        return (await self._info()).get("Autostart") == "enable"

    async def _info(self) -> dict[str, str]:
        done = await self.virsh("dominfo", self.domain)
        if not done.ok:
            if any(words in done.errors for words in _MISSING):
                return {}
            raise _silent(done)
        lines = (line.partition(":")[::2] for line in done.output.splitlines())
        return {name: value.strip() for name, value in lines}

    async def forget(self) -> None:
        """Its persistent definition only; a guest that runs goes on, and its disks stay."""
        done = await self.virsh("undefine", self.domain, "--keep-nvram", "--snapshots-metadata")
        if not done.ok and not any(words in done.errors for words in _MISSING):
            raise ConfigError(
                f"libvirt keeps {self.domain} defined on this node: {_words(done)}",
                hint=f"`virsh undefine {self.domain}`: it could be started there past safekit",
            )

    async def ping_agent(self, timeout_s: float) -> bool | None:
        """None when no agent is connected, or libvirt cannot say."""
        seconds = max(1, round(timeout_s))
        words = ("qemu-agent-command", self.domain, _PING, "--timeout", str(seconds))
        done = await self.virsh(*words, timeout_s=seconds + AGENT_SLACK_S)
        if done.ok:
            return True
        silent = done.timed_out or "not available" in done.errors or "timeout" in done.errors.lower()
        return False if silent else None

    async def _begun(self, *words: str, **how: Any) -> asyncio.subprocess.Process:
        """Whoever calls ends it; it ends with this process in any case."""
        parent = os.getpid()
        return await asyncio.create_subprocess_exec(
            *self._argv(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=clean_environment(),
            cwd="/",
            preexec_fn=lambda: end_with_parent(parent_pid=parent),
            **how,
        )

    def _argv(self, words: Sequence[str]) -> list[str]:
        return ["virsh", "--quiet", "--connect", self.uri, *words]

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[asyncio.StreamReader]:
        """A line for each event of this domain, as long as libvirt is connected; then the end."""
        words = ("event", self.domain, "--all", "--loop")
        process = await self._begun(*words, stderr=subprocess.DEVNULL, limit=_LINE_MAX)
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _answer(command: str, output: bytes, errors: bytes) -> Any:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(output)["return"]
    said = (errors or output).decode(errors="replace").strip()[:300]
    raise ConfigError(f"QEMU's monitor refuses {command}: {said}", hint="its QEMU's log says more")


def _words(done: Completed) -> str:
    said = " | ".join(line.removeprefix("error: ") for line in done.errors.splitlines() if line.strip())
    return said or done.why()


def _silent(done: Completed) -> ConfigError:
    return ConfigError(f"libvirt does not answer: {_words(done)}", hint="`systemctl start libvirtd`")
