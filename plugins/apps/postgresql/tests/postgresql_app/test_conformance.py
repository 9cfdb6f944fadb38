"""The promises of every application, by a real PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from safekit_postgresql import PostgresqlApp, PostgresqlConfig
from safekit_postgresql.processes import Processes

from postgresql_app.database import Database
from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.process import Family
from safekit_sdk.procfs import all_pids
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Postgresql(AppConformance):
    plugin = PostgresqlApp
    kinds: ClassVar[tuple[ModuleKind, ...]] = ("mirror", "light")

    @pytest.fixture
    def settings(self, base: Database) -> Mapping[str, Any]:
        self.base = base
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        self.base.write("no_such_setting = on\n")
        return settings

    @pytest.fixture(autouse=True)
    def _a_cluster_for_every_test(self, base: Database) -> None:
        self.base = base

    def request(self, kind: ModuleKind) -> ModuleRequest:
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest("test", kind, vips, options={"data": str(self.base.data)})

    async def traces(self, config: PostgresqlConfig, context: RecordingContext) -> Collection[str]:
        data = str(config.data)
        here = [pid for pid in all_pids() if _directory(pid) == data]
        return [f"process {pid}" for pid in ([pid for pid in here if _is_server(pid)] or here)]

    async def make_broken(self, config: PostgresqlConfig, context: RecordingContext) -> None:
        main = Processes(Family.of(context, f"postgresql.{context.name}"), config.data).main()
        if main is not None:
            os.kill(main, signal.SIGKILL)


def _directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def _is_server(pid: int) -> bool:
    """Whether it is the server itself: the processes that it forks come and go, and one that ends has no title left."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
        return bool(title) and not title.startswith(b"postgres: ")
    except OSError:
        return False


class TestInACgroup(_Postgresql):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Postgresql):
    with_cgroup = False


del _Postgresql
