"""MariaDB: its server in the foreground, so that it is ours to watch."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from safekit_mariadb import server
from safekit_mariadb.config import MariadbConfig
from safekit_mariadb.question import ask
from safekit_mariadb.server import Server
from safekit_sdk import App, ConfigError, Health, ModuleKind, ModuleRequest, Status, Verdict
from safekit_sdk.config import PATIENCE
from safekit_sdk.installed import CLEAN, sentence, started_by_systemd
from safekit_sdk.main_process import MainProcess, asking
from safekit_sdk.module_files import with_data
from safekit_sdk.process import Family, launch
from safekit_sdk.procfs import describe, working_in
from safekit_sdk.program_log import ProgramLog

AGAIN_S: Final = 1.0
TEMPORARY: Final = "ibtmp1"
NAMES: Final = frozenset({"mariadbd", "mysqld"})


class MariadbApp(App[MariadbConfig], api=1):
    """The MariaDB database server, on a data directory that is replicated."""

    live_keys: ClassVar[frozenset[str]] = frozenset(
        {"account", "client_config", "query", "interval", "timeout", "fall"}
    )

    @classmethod
    def ident(cls, config: MariadbConfig) -> str:
        return config.name or "mariadb"

    @classmethod
    def preflight(cls, config: MariadbConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        findings: list[str] = []
        try:
            found = server.find(config)
            findings += found.losses()
            if not found.data.is_dir():
                findings.append(f"{found.data} is not there; create it, owned by {config.user}")
        except ConfigError as error:
            findings.append(sentence(error))
        return findings + (started_by_systemd("mariadb") if config.config is None else [])

    @property
    def _family(self) -> Family:
        return Family.of(self.context, f"mariadb.{self.context.name}")

    @property
    def _log(self) -> ProgramLog:
        """What the server prints: its log, unless `log_error` is set."""
        return ProgramLog(self.context.state_dir / "mariadb.log")

    @property
    def _main(self) -> MainProcess:
        return MainProcess("MariaDB", self._family.leader, self._log)

    async def start(self) -> None:
        found = await server.find_async(self.config)
        if self._family.leader() is None:
            await self._family.end_all(0.0)
            self._launch(found)
        await self._main.until_ready(partial(self._silence, found), self.config.patience_s, self.context.log)

    def _launch(self, found: Server) -> None:
        if strangers := working_in(found.data, NAMES) - self._family.pids():
            raise ConfigError(
                f"another MariaDB runs on {found.data}: {describe(strangers)}",
                hint="stop it, and keep systemd from starting it: `systemctl disable --now mariadb`",
            )
        for loss in found.losses():
            self.context.log(f"MariaDB may lose transactions: {loss}")
        if not found.socket.parent.exists() and found.socket.parent.parent.is_dir():
            found.socket.parent.mkdir(mode=0o755)
            shutil.chown(found.socket.parent, self.config.user)
        self._log.bound()
        family = self._family
        environment = {**CLEAN, **self.context.settings, **family.environment}
        around: dict[str, Any] = {"cwd": Path("/"), "cgroup": family.home(), "user": self.config.user}
        launch(found.argv, output=self._log.path, env=environment, **around)

    async def _silence(self, found: Server, pid: int) -> str:  # noqa: ARG002 - it is asked by its socket
        """A server that recovers after a crash lives, and has no socket yet."""
        if not found.socket.is_socket():
            return f"it has no socket yet; {self._log.last_words()}"
        verdict = await ask(found)
        if verdict.health is Health.UNKNOWN:
            self.context.log(f"MariaDB has started, but: {verdict.reason}")
        return verdict.reason if verdict.health is Health.DOWN else ""

    async def stop(self, force: bool) -> None:
        bound_s = self.config.stop_timeout.seconds * PATIENCE
        if not force and not await self._main.ends(signal.SIGTERM, bound_s, again_s=AGAIN_S):
            self.context.log("MariaDB did not end in time: it is killed, and the next start has to recover")
        await self._family.end_all(0.0)

    async def status(self) -> Status:
        return self._main.status(self._family.pids)

    def watch(self) -> AsyncIterator[Verdict]:
        """Its death, at once; and a question that it answers."""
        look = asking(partial(server.find_async, self.config), ask)
        return self._main.watch(look, self.config.interval.seconds, self.config.fall)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        options = dict(request.options)
        config = MariadbConfig.model_validate(options)
        return with_data(request, "MariaDB", {"mariadb": options}, _directories(config))


def _directories(config: MariadbConfig) -> Iterator[dict[str, Any]]:
    """What replicates all that the server's data are made of."""
    found = server.find(config)
    yield {"name": "data", "directory": os.path.normpath(found.data), "exclude": [TEMPORARY]}
    outside: dict[Path, str] = {}
    for name, place in found.locations().items():
        outside.setdefault(Path(os.path.normpath(place)), name)
    for place, name in outside.items():
        if not place.is_dir() or found.data.is_relative_to(place):
            raise ConfigError(
                f"{name} is in {place}, which cannot be replicated by itself",
                hint="give it an existing directory of its own that does not hold the data directory",
            )
        yield {"name": name, "directory": str(place)}
