"""The Samba of this machine: its programs, and its settings as its own `testparm` reads them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_samba.config import SambaConfig
from safekit_sdk import ConfigError, Verdict
from safekit_sdk.installed import CLEAN, find_program, refuse_missing
from safekit_sdk.process import run

FILE: Final = Path("/etc/samba/smb.conf")
ENVIRONMENT: Final = {**CLEAN, "HOME": "/root"}
_ASK_S: Final = 20.0
_STATUS: Final = re.compile(r"NT_STATUS_[A-Z_]+")
_SILENT: Final = frozenset(
    {
        "NT_STATUS_CONNECTION_REFUSED",
        "NT_STATUS_CONNECTION_RESET",
        "NT_STATUS_CONNECTION_DISCONNECTED",
        "NT_STATUS_IO_TIMEOUT",
        "NT_STATUS_HOST_UNREACHABLE",
        "NT_STATUS_NETWORK_UNREACHABLE",
    }
)
_NO_ENTRY: Final = frozenset({"NT_STATUS_ACCESS_DENIED", "NT_STATUS_LOGON_FAILURE", "NT_STATUS_ACCOUNT_DISABLED"})


@dataclass(frozen=True, slots=True)
class Server:
    config: SambaConfig
    program: Path
    file: Path
    sections: Mapping[str, Mapping[str, str]]
    """Settings in small letters by section, with all defaults."""

    @property
    def port(self) -> str:
        return (self.sections["global"].get("smb ports", "").split() or ["445"])[0]

    def directories(self) -> Iterator[dict[str, Any]]:
        """What is to be replicated: who may come in, and the directories of the shares; none within another."""
        known = self.sections["global"]
        found = {"state": known.get("state directory", ""), "private": known.get("private dir", "")}
        found |= {name: one["path"] for name, one in self.sections.items() if _is_share(name, one)}
        taken: dict[Path, str] = {}
        for name, text in sorted(found.items(), key=lambda pair: (len(Path(pair[1]).parts), pair[0] != "state")):
            place = Path(os.path.normpath(text))
            if not text or any(place.is_relative_to(other) for other in taken):
                continue
            if not place.is_dir() or place == Path("/"):
                raise ConfigError(f"{name} is in {place}, which cannot be replicated", hint="give it an own directory")
            taken[place] = name
            yield {"name": re.sub(r"[^A-Za-z0-9_-]", "-", name)[:40], "directory": str(place)}

    def losses(self) -> Iterator[str]:
        for name, one in self.sections.items():
            if one.get("strict sync", "yes").lower() == "no":
                yield f"strict sync is no in [{name}]: what a client was told to be on the disk can be lost by a crash"


def find(config: SambaConfig) -> Server:
    """ConfigError that says what to install, or has Samba's own words. For where nothing asynchronous may be."""
    program, file, asked = _asked(config)
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True}
    try:
        done = subprocess.run(asked, env=ENVIRONMENT, cwd="/", timeout=_ASK_S, check=False, **quiet)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{asked[0]} cannot be asked: {error}") from error
    said, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Server(config, program, file, _sections(file, done.returncode, said, errors))


async def find_async(config: SambaConfig) -> Server:
    """The same; a cancellation leaves nothing that runs."""
    program, file, asked = _asked(config)
    around: dict[str, Any] = {"output_limit_bytes": 1 << 20, "errors_apart": True, "cwd": Path("/")}
    done = await run(asked, timeout_s=_ASK_S, env=ENVIRONMENT, **around)
    return Server(config, program, file, _sections(file, done.returncode, done.output, done.errors))


def _asked(config: SambaConfig) -> tuple[Path, Path, list[str]]:
    file = config.config or FILE
    refuse_missing(config=file, credentials=config.credentials)
    if config.credentials is not None and config.credentials.stat().st_mode & 0o077:
        raise ConfigError(f"{config.credentials} is open to others", hint=f"chmod 600 {config.credentials}")
    program = find_program(config.program, "smbd", packages="samba")
    find_program(None, "smbclient", packages="smbclient")
    testparm = find_program(None, "testparm", packages="samba-common-bin")
    return program, file, [str(testparm), "-s", "-v", str(file)]


def _sections(file: Path, returncode: int, said: str, errors: str) -> dict[str, dict[str, str]]:
    unknown = [line for line in errors.splitlines() if "nknown parameter" in line]
    if returncode != 0 or unknown:
        words = " | ".join(unknown or errors.splitlines()[-3:])
        raise ConfigError(f"the configuration {file} has errors: {words}", hint="correct it on this node")
    found: dict[str, dict[str, str]] = {"global": {}}
    section = found["global"]
    for line in said.splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            section = found.setdefault(text[1:-1], {})
        elif "=" in text and not text.startswith("#"):
            name, _, value = text.partition("=")
            section[name.strip().lower()] = value.strip()
    return found


def _is_share(name: str, one: Mapping[str, str]) -> bool:
    path = one.get("path", "")
    return name != "global" and path.startswith("/") and "%" not in path and one.get("printable", "No") == "No"


async def ask(server: Server) -> Verdict:
    """Up by an answer in SMB; unknown when it does not let the check into the share; down else."""
    config = server.config
    who = ["-A", str(config.credentials)] if config.credentials else ["-N"]
    what = ["-c", "ls"] if config.share else ["-c", "exit"]
    place = [f"//{config.host}/{config.share or 'IPC$'}", "-p", server.port]
    done = await run(
        ["smbclient", *who, *what, "-s", "/dev/null", *place],
        timeout_s=config.timeout.seconds,
        env=ENVIRONMENT,
        cwd=Path("/"),
        grace_s=0.0,
    )
    if done.timed_out:
        return Verdict.down(f"no answer within {config.timeout}")
    statuses = set(_STATUS.findall(done.output))
    if done.ok and not statuses:
        return Verdict.up("it answers")
    if statuses & _SILENT or not statuses:
        return Verdict.down(f"no answer: {done.why()}")
    if statuses <= _NO_ENTRY:
        refused = f"it lets the check not in: {done.why()}"
        return Verdict.unknown(f"{refused}; see `credentials:`") if config.share else Verdict.up(refused)
    return Verdict.down(f"it answers by an error: {done.why()}")
