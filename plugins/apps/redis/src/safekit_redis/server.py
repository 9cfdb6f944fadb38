"""The Redis or Valkey of this machine: its program, its configuration, where its data are and how it is reached."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_redis.config import RedisConfig
from safekit_redis.resp import Place
from safekit_redis.settings import settings
from safekit_sdk import ConfigError
from safekit_sdk.installed import CLEAN, find_program, refuse_missing
from safekit_sdk.process import run

NAMES: Final = frozenset({"redis-server", "valkey-server"})
FILES: Final = {
    "redis": ("/etc/redis/redis.conf", "/etc/redis.conf"),
    "valkey": ("/etc/valkey/valkey.conf", "/etc/valkey.conf"),
}
_CHECK_S: Final = 10.0
_END: Final = "safekit-end-of-the-file"
"""No directive of the server: that it complains of this one means that it had nothing else to complain of."""
_ANY: Final = frozenset({"*", "0.0.0.0", "::", "::*"})


@dataclass(frozen=True, slots=True)
class Server:
    config: RedisConfig
    program: Path
    file: Path
    settings: Mapping[str, str]

    @property
    def user(self) -> str:
        return self.config.user or self.program.name.partition("-")[0]

    @property
    def data(self) -> Path:
        return Path(self.settings.get("dir", "/"))

    @property
    def place(self) -> Place:
        if socket := self.settings.get("unixsocket"):
            return Path(socket)
        addresses = [word.removeprefix("-") for word in self.settings.get("bind", "127.0.0.1").split()]
        first = addresses[0] if addresses and addresses[0] not in _ANY else "127.0.0.1"
        port = int(self.settings.get("port", "6379"))
        if port == 0:
            raise ConfigError(
                "the server has neither a port without TLS nor a unix socket, by which it is asked whether it lives",
                hint=f"set `unixsocket /run/redis/redis.sock` in {self.file}",
            )
        return first, port

    @property
    def has_only_a_snapshot(self) -> bool:
        """Data that a server with `appendonly yes` would not load: it reads the append-only file alone. From version 7
        on that is there when its manifest is; what else is in its directory may be of one that was never finished."""
        snapshot = self.data / self.settings.get("dbfilename", "dump.rdb")
        name = self.settings.get("appendfilename", "appendonly.aof")
        manifest = self.data / self.settings.get("appenddirname", "appendonlydir") / f"{name}.manifest"
        return snapshot.exists() and not any(log.exists() for log in (manifest, self.data / name))

    def argv(self) -> list[str]:
        """In the foreground, its words on standard output."""
        own = {"daemonize": "no", "supervised": "no", "logfile": ""}
        if self.config.durable:
            on = "no" if self.has_only_a_snapshot else "yes"
            own |= {"appendonly": on, "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
        words = (word for name, text in own.items() for word in (f"--{name}", text))
        return [str(self.program), str(self.file), *words]

    def losses(self) -> Iterator[str]:
        """What breaks the promise of a mirror, one sentence each."""
        if self.config.durable:
            return
        if self.settings.get("appendonly") != "yes":
            yield "appendonly is not yes: what was written since the last snapshot is lost by a crash"
        elif self.settings.get("appendfsync", "everysec") != "always":
            yield "appendfsync is not always: a crash of the node can lose a second of acknowledged writes"


def find(config: RedisConfig) -> Server:
    """ConfigError that says what to install or correct."""
    refuse_missing(config=config.config)
    program = find_program(config.program, "redis-server", "valkey-server")
    kind = "valkey" if program.name.startswith("valkey") else "redis"
    file = config.config or next((Path(name) for name in FILES[kind] if Path(name).is_file()), None)
    if file is None:
        raise ConfigError(f"no configuration of {kind} is on this node", hint="say where it is with `config:`")
    found = Server(config, program, file, settings(file))
    if not found.data.is_absolute() or found.data == Path("/"):
        raise ConfigError(f"{file} does not say where the data are", hint="set `dir` to an absolute path")
    return found


async def check(found: Server) -> None:
    """ConfigError in the server's own words, which name the line, when its configuration has errors."""
    done = await run(_asked(found), timeout_s=_CHECK_S, env=CLEAN, cwd=Path("/"), user=found.user)
    _judge(found, done.output)


def check_now(found: Server) -> None:
    """The same, for where nothing asynchronous may be."""
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        entry = pwd.getpwnam(found.user)
        whose: dict[str, Any] = {"user": entry.pw_uid, "group": entry.pw_gid}
        groups = os.getgrouplist(found.user, entry.pw_gid)
        around: dict[str, Any] = {"env": CLEAN, "cwd": "/", "extra_groups": groups}
        done = subprocess.run(_asked(found), timeout=_CHECK_S, check=False, **quiet, **around, **whose)
    except KeyError:
        raise ConfigError(f"there is no user '{found.user}'", hint="correct `user:`") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{found.program} cannot be asked: {error}") from error
    _judge(found, done.stdout.decode(errors="replace"))


def _asked(found: Server) -> list[str]:
    return [str(found.program), str(found.file), f"--{_END}", "yes"]


def _judge(found: Server, said: str) -> None:
    if _END not in said:
        words = " | ".join(line.strip() for line in said.splitlines()[-4:] if line.strip())
        raise ConfigError(f"the configuration {found.file} has errors: {words}", hint="correct it on this node")
