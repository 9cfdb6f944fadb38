"""One resource run by hand: found by its name, the same at every call, refused with a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from address_resource import AddressResource

from safekit_sdk import ConfigError, PluginError, Resource, ResourceConfig, ResourceState, Status
from safekit_sdk.by_hand import GROUP, load, make
from safekit_sdk.testing.distribution import install_distribution


class NoteConfig(ResourceConfig):
    text: str
    """What is noted."""


class NoteResource(Resource[NoteConfig], api=1):
    """A file in its run directory."""

    async def start(self) -> None:
        (self.context.run_dir / "note").write_text(self.config.text)

    async def stop(self, force: bool) -> None:
        (self.context.run_dir / "note").unlink(missing_ok=True)

    async def status(self) -> Status:
        there = (self.context.run_dir / "note").exists()
        return Status(ResourceState.STARTED if there else ResourceState.STOPPED)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"address": "address_resource:AddressResource", "wrong": "pathlib:Path"}
    monkeypatch.syspath_prepend(install_distribution(tmp_path / "site", "safekit-resource-address", {GROUP: names}))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAFEKIT_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("SAFEKIT_RUN", str(tmp_path / "run"))
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_a_resource_is_found_by_its_name() -> None:
    assert load("address") is AddressResource
    assert "address_resource" in sys.modules


@pytest.mark.usefixtures("installed")
def test_what_is_no_resource_is_refused() -> None:
    with pytest.raises(PluginError, match="is no resource class"):
        load("wrong")
    with pytest.raises(ConfigError, match="no installed package has the resource 'no-such'"):
        load("no-such")


async def test_a_second_instance_of_the_same_owner_finds_what_the_first_started(places: Path) -> None:
    first = make(NoteResource, {"text": "here"}, "one", cgroup=None)
    await first.start()
    assert (await make(NoteResource, {"text": "here"}, "one", cgroup=None).status()).state is ResourceState.STARTED
    assert (await make(NoteResource, {"text": "here"}, "two", cgroup=None).status()).state is ResourceState.STOPPED
    await make(NoteResource, {"text": "here"}, "one", cgroup=None).stop(True)
    assert (await first.status()).state is ResourceState.STOPPED
    for path in (places / "var/by-hand/one", places / "run/by-hand/one"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_what_is_wrong_with_the_settings_is_told(places: Path) -> None:
    with pytest.raises(ConfigError, match="text: Field required; nope: Extra inputs are not permitted"):
        make(NoteResource, {"nope": 1}, "one")
    with pytest.raises(ConfigError, match="cannot be the owner"):
        make(NoteResource, {"text": "here"}, "../one")
    assert not list(places.iterdir())
