"""The same with Docker, by its real client and daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safekit_podman import PodmanApp, PodmanConfig

from podman_app import docker
from podman_app.box import IMAGE, Box, fall_ill_and_die
from podman_app.docker import DOCKER, DockerBox
from podman_app.test_compose import place
from safekit_sdk import ResourceState
from safekit_sdk.testing import a_context


@pytest.fixture(scope="module")
def dock(base: Box) -> Iterator[DockerBox]:
    with docker.daemon() as made:
        subprocess.run([*made.engine, "import", str(base.place / "image.tar"), IMAGE], check=True, timeout=60)
        yield made


def make(dock: DockerBox, tmp_path: Path, **settings: Any) -> PodmanApp:
    return PodmanApp(PodmanConfig.model_validate({**dock.settings, **settings}), a_context(tmp_path, name="podman"))


@pytest.mark.long
async def test_a_container_of_docker_is_started_watched_and_stopped(dock: DockerBox, tmp_path: Path) -> None:
    (tmp_path / "well").touch()
    app = make(dock, tmp_path, volumes=[f"{tmp_path}:/data"], health=["/bin/test", "-e", "/data/well"])
    try:
        assert app.preflight(app.config, "mirror") == []
        await app.start()
        await fall_ill_and_die(app, tmp_path / "well")
        await app.start()
        broken = PodmanApp(app.config.model_copy(update={"engine": ("/no-such-engine",)}), app.context)
        await broken.stop(True)
        assert (await app.status()).state is ResourceState.STOPPED
    finally:
        await app.stop(False)
    assert dock.podman("ps", "--all", "--quiet") == ""
    assert "is not on this node" in " ".join(app.preflight(make(dock, tmp_path, image="none").config, "mirror"))


@pytest.mark.long
async def test_a_compose_file_runs_in_docker(dock: DockerBox, tmp_path: Path) -> None:
    settings = {key: value for key, value in dock.settings.items() if key not in ("image", "command", "options")}
    config = PodmanConfig.model_validate({**settings, "compose": str(place(tmp_path))})
    app = PodmanApp(config, a_context(tmp_path, name="podman"))
    try:
        await app.start()
        assert (await app.status()).state is ResourceState.STARTED
    finally:
        await app.stop(False)
    words = (tmp_path / "data" / "words").read_text().splitlines()
    assert sorted(words[:2]) == ["data a secret", "prepared"]
    assert words[2:] == ["page secret", "end", "end"]
    assert dock.podman("ps", "--all", "--quiet") == ""


def test_a_daemon_that_does_not_answer_is_told_before_a_start(tmp_path: Path) -> None:
    engine = [DOCKER, f"--host=unix://{tmp_path}/none.sock"]
    config = PodmanConfig.model_validate({"image": IMAGE, "engine": engine})
    assert "Cannot connect to the Docker daemon" in " ".join(PodmanApp.preflight(config, "mirror"))
