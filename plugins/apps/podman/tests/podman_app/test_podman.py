"""What is a container's own: its volumes, its health command, its image, an engine that does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_podman import PodmanApp, PodmanConfig

from podman_app.box import IMAGE, Box, fall_ill_and_die
from safekit_sdk import ConfigError, ModuleRequest, ResourceState
from safekit_sdk.testing import RecordingContext, a_context

VIPS = ("10.0.0.100/24",)


def make(base: Box, tmp_path: Path, **settings: Any) -> PodmanApp:
    config = PodmanConfig.model_validate({**base.settings, **settings})
    return PodmanApp(config, a_context(tmp_path, name="podman"))


@pytest_asyncio.fixture
async def app(base: Box, tmp_path: Path) -> AsyncIterator[PodmanApp]:
    (tmp_path / "data").mkdir()
    health = ["/bin/test", "-e", "/data/well"]
    made = make(base, tmp_path, volumes=[f"{tmp_path}/data:/data"], health=health)
    yield made
    await made.stop(True)


async def test_it_has_started_when_its_health_command_succeeds_and_is_down_when_it_fails(
    base: Box, app: PodmanApp, tmp_path: Path
) -> None:
    well = tmp_path / "data" / "well"
    well.touch()
    await app.start()
    main = await fall_ill_and_die(app, well)
    await app.start()
    assert app._started()[0].processes.main() != main
    await app.stop(False)
    assert base.podman("ps", "--all", "--quiet") == ""


async def test_one_that_ends_at_once_has_not_started_and_its_last_words_are_told(base: Box, tmp_path: Path) -> None:
    app = make(base, tmp_path, command=["/bin/sh", "-c", "echo no such luck; exit 3"])
    with pytest.raises(ConfigError, match=r"the container ended as it started: .*no such luck"):
        await app.start()
    await app.stop(False)
    assert (await app.status()).state is ResourceState.STOPPED


@pytest.mark.parametrize("engine", ["/no-such-engine", "hangs"])
async def test_processes_are_ended_also_when_the_engine_does_not_help(
    base: Box, app: PodmanApp, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safekit_podman.app.FORCED_S", 0.2)
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 60\n")
    hangs.chmod(0o755)
    (tmp_path / "data" / "well").touch()
    await app.start()
    broken = PodmanApp(app.config.model_copy(update={"engine": (str(tmp_path / engine),)}), app.context)
    await broken.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED
    assert isinstance(app.context, RecordingContext)
    assert "may be left" in "\n".join(app.context.lines)
    await app.stop(False)
    assert base.podman("ps", "--all", "--quiet") == ""


def test_an_image_and_directories_that_are_not_there_are_told_before_a_start(base: Box, tmp_path: Path) -> None:
    def told(**settings: Any) -> str:
        return " ".join(PodmanApp.preflight(make(base, tmp_path, **settings).config, "mirror"))

    assert told() == ""
    assert "the image localhost/none is not on this node" in told(image="localhost/none")
    assert f"{tmp_path}/none is not there" in told(volumes=f"{tmp_path}/none:/data")
    assert "no-such-engine is not installed" in told(engine="no-such-engine")


def test_a_mirror_replicates_its_volumes(tmp_path: Path) -> None:
    options = {"image": IMAGE, "volumes": "/srv/a/data:/a,/srv/b/data:/b:ro", "options": "--env 'A=b c'"}
    assert PodmanApp.module_file(ModuleRequest("shop", "mirror", VIPS, options=options)) == {
        "kind": "mirror",
        "pipeline": [
            {"rfs": {"name": "data1", "directory": "/srv/a/data"}},
            {"rfs": {"name": "data2", "directory": "/srv/b/data"}},
            {"vip": {"address": VIPS[0]}},
            {
                "podman": {
                    "image": IMAGE,
                    "volumes": ["/srv/a/data:/a", "/srv/b/data:/b:ro"],
                    "options": ["--env", "A=b c"],
                }
            },
        ],
    }
    with pytest.raises(ConfigError, match="which container"):
        PodmanApp.module_file(ModuleRequest("shop", "mirror", VIPS))


@pytest.mark.parametrize("settings", [{"image": "-x"}, {"image": "a", "volumes": "b:/c"}, {"image": "a", "engine": ""}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PodmanConfig.model_validate(settings)
