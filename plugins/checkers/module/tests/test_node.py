"""The module checker with a real node: a module that is stopped and started, a daemon that hangs and dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from safekit_checker_module import ModuleChecker, ModuleConfig

from safekit_sdk import Health
from safekit_sdk.elsewhere import module_states
from safekit_sdk.testing import Namespace, network_namespace
from safekit_sdk.testing.context import a_context

pytestmark = pytest.mark.system
SAFEKIT = Path(sys.executable).with_name("safekit")
MODULE = "kind: light\npipeline: []\n"
WAITING = f"{MODULE}checkers: [module: {{module: db, interval: 200ms}}]\n"
BOUND_S = 30.0


@dataclass
class Shell:
    """Commands on a node with directories of its own."""

    place: Path
    namespace: Namespace

    @property
    def environment(self) -> Mapping[str, str]:
        places = {f"SAFEKIT_{name.upper()}": str(self.place / name) for name in ("etc", "var", "run", "log")}
        return {**places, "SAFEKIT_REALTIME": "0"}

    def __call__(self, *words: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [*self.namespace.prefix, str(SAFEKIT), *words],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def until(self, module: str, state: str, resource: str, value: str) -> None:
        """Wait until the module is in the state, with this value."""
        deadline_s = time.monotonic() + BOUND_S
        while (state, value) != (seen := self._seen(module, resource)):
            assert time.monotonic() < deadline_s, f"{module} is {seen}, not {state} with {resource} {value}"
            time.sleep(0.1)

    def _seen(self, module: str, resource: str) -> tuple[str, str]:
        modules = json.loads(self("status", "-o", "json"))["n1"]["result"]["modules"]
        found = next(one for one in modules if one["name"] == module)
        values = {value["resource"]: value["value"] for value in found["values"]}
        return found["state"], values.get(resource, "")

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Its daemon neither runs nor dies meanwhile."""
        pid = int(json.loads(self("status", "-o", "json"))["n1"]["result"]["pid"])
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A cluster of one with the module `db`; the test's checkers run where its hosts do."""
    file = tmp_path / "db" / "module.yaml"
    file.parent.mkdir()
    file.write_text(MODULE)
    with network_namespace() as namespace:
        shell = Shell(tmp_path / "node", namespace)
        for name, value in shell.environment.items():
            monkeypatch.setenv(name, value)
        shell("cluster", "init", "--node", "n1", "--address", "127.0.0.1")
        shell("daemon", "start")
        try:
            shell("module", "add", "db", "--from", str(file.parent))
            shell("module", "start", "db")
            shell("module", "wait", "db", "UP")
            yield shell
        finally:
            shell("daemon", "stop", code=None)


async def test_a_real_module_is_followed_and_a_daemon_that_hangs_or_is_gone_is_unknown(
    node: Shell, tmp_path: Path
) -> None:
    states = partial(module_states, node.place / "run" / "control.sock")
    context = a_context(tmp_path, node="n1", module_states=states)
    checker = ModuleChecker(ModuleConfig(module="db", restarted=True), context)
    hasty = ModuleChecker(ModuleConfig(module="db", timeout="500ms", on="any"), context)
    up = await checker.check()
    assert up.health is Health.UP, up
    assert up.facts["state"] == "UP"
    node("module", "stop", "db")
    node("module", "wait", "db", "STOP")
    down = await checker.check()
    assert down.health is Health.DOWN
    assert "STOP/NotReady on n1" in down.reason
    node("module", "start", "db")
    node("module", "wait", "db", "UP")
    assert "started anew" in (await checker.check()).reason
    with node.standing_still():
        hanging = await hasty.check()
    assert hanging.health is Health.UNKNOWN
    assert "did not answer within" in hanging.reason
    node("daemon", "stop")
    assert (await hasty.check()).health is Health.UNKNOWN


def test_a_module_waits_in_its_host_for_another_to_run(node: Shell, tmp_path: Path) -> None:
    """The whole way: the plugin in its host asks the daemon, and the rule that it brings keeps the module waiting."""
    node("module", "stop", "db")
    node("module", "wait", "db", "STOP")
    file = tmp_path / "app" / "module.yaml"
    file.parent.mkdir()
    file.write_text(WAITING)
    node("module", "add", "app", "--from", str(file.parent))
    node("module", "start", "app", "--no-wait")
    node.until("app", "WAIT", "module.db", "down")
    node("module", "start", "db")
    node("module", "wait", "app", "UP")
    node("module", "stop", "db")
    node.until("app", "WAIT", "module.db", "down")
