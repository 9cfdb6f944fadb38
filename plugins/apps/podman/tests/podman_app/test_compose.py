"""Compose files: what they say is what runs, and what cannot be done here is refused with its place."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_podman import PodmanApp, PodmanConfig

from podman_app.box import IMAGE, Box
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.testing import RecordingContext, a_context, watched

LOOP = (
    "trap 'echo end >> /data/words; exit 0' TERM; echo $$NAME $$(cat /run/secrets/key) >> /data/words; "
    "while :; do sleep 0.1; done"
)
SHOP = f"""\
x-limits: &limits {{nofile: 1024, nproc: 1024}}
services:
  page:
    image: {IMAGE}
    network_mode: host
    ulimits: *limits
    restart: always
    depends_on: {{data: {{condition: service_healthy}}, prepare: {{condition: service_completed_successfully}}}}
    entrypoint: [/bin/sh, -c]
    command: ["{LOOP.replace("$NAME", "$PAGE")}"]
    environment: [PAGE=page]
    volumes: ["./data:/data"]
    secrets: [key]
  data:
    image: ${{BOX:-{IMAGE}}}
    network_mode: host
    ulimits: *limits
    command: /bin/sh -c "{LOOP}"
    environment: {{NAME: "${{DATA}} a"}}
    volumes: ["./data:/data", "./fixed:/fixed:ro"]
    secrets: [key]
    healthcheck: {{test: [CMD, /bin/test, -e, /data/well], interval: 1s}}
  prepare:
    image: {IMAGE}
    network_mode: host
    ulimits: *limits
    command: [/bin/sh, -c, "echo prepared >> /data/words"]
    volumes: ["./data:/data"]
secrets:
  key: {{file: ./key}}
"""


def place(tmp_path: Path, text: str = SHOP) -> Path:
    for name in ("data", "fixed"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "data" / "well").touch()
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / ".env").write_text("# of the shop\nDATA='data'\n")
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    return file


def make(base: Box, tmp_path: Path, file: Path) -> PodmanApp:
    settings = {key: value for key, value in base.settings.items() if key not in ("image", "command", "options")}
    config = PodmanConfig.model_validate({**settings, "compose": str(file)})
    return PodmanApp(config, a_context(tmp_path, name="podman"))


@pytest_asyncio.fixture
async def shop(base: Box, tmp_path: Path) -> AsyncIterator[PodmanApp]:
    made = make(base, tmp_path, place(tmp_path))
    yield made
    await made.stop(True)


def mains(app: PodmanApp) -> dict[str, int | None]:
    return {each.spec.service: each.processes.main() for each in app._started()}


@pytest.mark.long
async def test_services_are_started_in_their_order_and_stopped_in_reverse(
    base: Box, shop: PodmanApp, tmp_path: Path
) -> None:
    assert shop.preflight(shop.config, "mirror") == []
    await shop.start()
    first = mains(shop)
    await shop.start()  # nothing is missing, so nothing is begun anew
    assert mains(shop) == first
    assert (await shop.status()).state is ResourceState.STARTED
    words = (tmp_path / "data" / "words").read_text().splitlines()
    assert sorted(words[:2]) == ["data a secret", "prepared"]
    assert words[2:] == ["page secret"]
    (tmp_path / "compose.yaml").unlink()  # what runs is known all the same
    await shop.stop(False)
    assert (await shop.status()).state is ResourceState.STOPPED
    assert (tmp_path / "data" / "words").read_text().splitlines()[3:] == ["end", "end"]
    assert base.podman("ps", "--all", "--quiet") == ""


@pytest.mark.long
async def test_the_end_of_one_and_its_failing_healthcheck_are_seen_and_all_begin_anew(
    shop: PodmanApp, tmp_path: Path
) -> None:
    await shop.start()
    before = mains(shop)
    async with watched(shop) as said:
        assert (await said.becomes(Health.UP)).reason == "2 containers run"
        (tmp_path / "data" / "well").unlink()
        assert (await said.becomes(Health.DOWN)).reason.startswith("data: /bin/test fails")
        (tmp_path / "data" / "well").touch()
        await said.becomes(Health.UP)
        assert before["page"] is not None
        os.kill(before["page"], signal.SIGKILL)
        assert (await said.becomes(Health.DOWN)).reason.startswith("page: the container page, process")
    assert (await shop.status()).state is ResourceState.FAILED
    await shop.start()
    assert (await shop.status()).state is ResourceState.STARTED
    assert not set(before.values()) - {None} & set(mains(shop).values())


@pytest.mark.long
async def test_one_that_must_succeed_first_keeps_the_others_from_starting_when_it_fails(
    base: Box, tmp_path: Path
) -> None:
    app = make(base, tmp_path, place(tmp_path, SHOP.replace("echo prepared >> /data/words", "echo too bad; exit 4")))
    with pytest.raises(ConfigError, match=r"podman start: exit status 4.*too bad"):
        await app.start()
    await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED
    assert "page" not in (tmp_path / "data" / "words").read_text()
    assert base.podman("ps", "--all", "--quiet") == ""


@pytest.mark.long
async def test_processes_of_all_are_ended_also_when_the_engine_is_gone(shop: PodmanApp) -> None:
    await shop.start()
    broken = PodmanApp(shop.config.model_copy(update={"engine": ("/no-such-engine",)}), shop.context)
    await broken.stop(True)
    assert (await shop.status()).state is ResourceState.STOPPED
    assert isinstance(shop.context, RecordingContext)
    assert "may be left" in "\n".join(shop.context.lines)


def test_a_mirror_replicates_the_directories_that_services_may_write(tmp_path: Path) -> None:
    file = place(tmp_path)
    made = PodmanApp.module_file(ModuleRequest("shop", "mirror", ("10.0.0.100/24",), options={"compose": str(file)}))
    assert made["pipeline"] == [
        {"rfs": {"directory": str(tmp_path / "data")}},
        {"vip": {"address": "10.0.0.100/24"}},
        {"podman": {"compose": str(file)}},
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("    restart: always", "    build: .", "7:5: `build` is not done here.*name it with `image:`"),
        ('    volumes: ["./data:/data"]', '    volumes: ["shop:/data"]', "a volume of the engine's own is not"),
        ("secrets:\n  key: {", "networks: {a: {}}\nsecrets:\n  key: {", "one network with their names"),
        ("[PAGE=page]", "[PAGE]", "PAGE has no value"),
        ("${DATA} a", "${NONE} a", "the variable NONE has no value"),
        ("${DATA} a", "$ a", "is written"),
        ("secrets: [key]", "secrets: [lock]", "the secret lock, which is not described"),
        ("  data:\n", "  other:\n", "page depends on data, which is no service"),
        ("network_mode: host", "network_mode: [", "this is not YAML"),
        ("[CMD, /bin/test", "[RUN, /bin/test", "a test begins with CMD"),
        ("  prepare:\n", "  prepare:\n    depends_on: [page]\n", "depend on each other"),
        (SHOP, "- a\n", "it has no services"),
        (SHOP, "services: {a: {image: b, depends_on: {a: {condition: service_completed_successfully}}}}", "would run"),
    ],
)
def test_what_is_not_done_here_is_refused_with_its_place(
    base: Box, tmp_path: Path, before: str, after: str, words: str
) -> None:
    assert before in SHOP
    file = place(tmp_path, SHOP.replace(before, after))
    told = PodmanApp.preflight(make(base, tmp_path, file).config, "mirror")
    assert len(told) == 1
    assert str(file) in told[0]
    with pytest.raises(ConfigError) as raised:
        PodmanApp.module_file(ModuleRequest("shop", "light", options={"compose": str(file)}))
    assert re.search(words, str(raised.value), re.DOTALL)


def test_images_and_directories_that_are_not_there_are_told(base: Box, tmp_path: Path) -> None:
    file = place(tmp_path, SHOP.replace("${BOX:-localhost/box}", "localhost/none").replace("./fixed", "./gone"))
    told = " ".join(PodmanApp.preflight(make(base, tmp_path, file).config, "mirror"))
    assert f"{tmp_path}/gone is not there" in told
    assert "the image localhost/none is not on this node" in told
    file.unlink()
    assert "cannot be read" in " ".join(PodmanApp.preflight(make(base, tmp_path, file).config, "mirror"))


@pytest.mark.parametrize("wrong", [{}, {"image": "a", "compose": "/b"}, {"compose": "/b", "health": "c"}])
def test_a_step_is_one_container_or_a_file(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PodmanConfig.model_validate(wrong)


NAMED = f"""\
services:
  data:
    image: {IMAGE}
    container_name: base
    command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    ulimits: {{nofile: 1024, nproc: 1024}}
  page:
    image: {IMAGE}
    depends_on: [data]
    command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    healthcheck: {{test: "/bin/busybox nslookup data && /bin/busybox nslookup base"}}
    ulimits: {{nofile: 1024, nproc: 1024}}
"""


@pytest.fixture
def inside(base: Box, tmp_path: Path) -> Iterator[list[str]]:
    """The engine in a network namespace of the test's own: it makes a bridge and rules."""
    space = f"compose-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", space], check=True)
    yield ["nsenter", f"--net=/run/netns/{space}", *base.engine, f"--network-config-dir={tmp_path}/networks"]
    subprocess.run(["ip", "netns", "delete", space], check=True)


@pytest.mark.long
async def test_services_find_each_other_by_their_names(base: Box, inside: list[str], tmp_path: Path) -> None:
    app = make(base, tmp_path, place(tmp_path, NAMED))
    app = PodmanApp(app.config.model_copy(update={"engine": tuple(inside)}), app.context)
    try:
        await app.start()
        assert (await app.status()).state is ResourceState.STARTED
    finally:
        await app.stop(False)
    assert list((tmp_path / "networks").glob("safekit*")) == []
