"""Another version's words: what a peer says besides is no reason not to hear it, and what another version compiled is
compiled anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safekit.bus import keys
from safekit.bus.messages import BETWEEN_NODES, MAX_BEAT_BYTES, Beat
from safekit.config.store import Store
from safekit.daemon.configuration import Configuration
from safekit.engine.reports import FarmReport, Heartbeat, ModuleReport, ModuleState, Readiness
from safekit.settings import Settings
from safekit_sdk import PeerError
from safekit_sdk.control import decode, encode

REPORT = ModuleReport(ModuleState.PRIM, Readiness.READY, epoch=3, active=True, was_primary=True, farm=FarmReport())
BEAT = Heartbeat("node1", 1, 2, modules=(("web", REPORT),), heard=(("node2", 5),))
Change = Callable[[dict[str, Any]], None]


def heard(change: Change) -> Heartbeat:
    said = json.loads(encode(Beat(heartbeat=BEAT)))
    change(said)
    message = decode(BETWEEN_NODES, json.dumps(said).encode(), MAX_BEAT_BYTES)
    assert isinstance(message, Beat)
    return message.heartbeat


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(later="x"),
        lambda said: said["heartbeat"].update(later={"a": 1}),
        lambda said: said["heartbeat"]["modules"][0][1].update(later=[1, 2]),
        lambda said: said["heartbeat"]["modules"][0][1]["farm"].update(later=None),
        lambda said: said["heartbeat"].pop("echoes"),
        lambda said: said["heartbeat"]["modules"][0][1].pop("lease_s"),
    ],
)
def test_a_heartbeat_that_says_more_or_less_is_heard(change: Change) -> None:
    assert heard(change) == BEAT


@pytest.mark.parametrize(
    "change",
    [lambda said: said.update(v=2), lambda said: said["heartbeat"]["modules"][0][1].update(state="NEW")],
    ids=["another protocol", "a state that there was not"],
)
def test_a_heartbeat_that_means_something_else_is_refused(change: Change) -> None:
    with pytest.raises(PeerError, match="check that all nodes run the same version"):
        heard(change)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node with one module."""
    places = {name: tmp_path / name for name in ("etc", "var", "run", "log")}
    environment = {**os.environ, **{f"SAFEKIT_{name.upper()}": str(place) for name, place in places.items()}}
    safekit = str(Path(sys.prefix) / "bin" / "safekit")
    init = [safekit, "cluster", "init", "--node", "n1", "--address", "127.0.0.1"]
    subprocess.run(init, env=environment, check=True, capture_output=True, timeout=60)
    made = Settings(**places)
    put(made, b"kind: light\npipeline: []\n")
    return made


def put(settings: Settings, text: bytes) -> None:
    """Bring a module file into force, as `apply` does."""
    store = Store(settings.etc, settings.var)
    store.commit("watch", store.stage("watch", {"module.yaml": text}), "a test")


async def loaded(settings: Settings) -> Configuration:
    configuration = Configuration(settings, keys.load(settings.key_file))
    assert await configuration.load_modules() == []
    return configuration


async def test_what_another_version_compiled_is_compiled_anew_as_the_same_revision(settings: Settings) -> None:
    before = (await loaded(settings)).modules["watch"]
    path = settings.var / "installed" / "watch.json"
    for change in (
        lambda told: told["compiled"].update(later=1),
        lambda told: told["compiled"].pop("heartbeat"),
    ):
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))
        after = (await loaded(settings)).modules["watch"]
        assert after == before
        assert json.loads(path.read_text()) == json.loads(before.model_dump_json())


async def test_files_that_were_changed_meanwhile_are_the_next_revision(settings: Settings) -> None:
    before = (await loaded(settings)).modules["watch"]
    path = settings.var / "installed" / "watch.json"
    path.write_text(path.read_text().replace('"kind"', '"another"'))
    put(settings, b"kind: light\npipeline: []\nmax_loops: 5\n")
    assert (await loaded(settings)).modules["watch"].revision == before.revision + 1
