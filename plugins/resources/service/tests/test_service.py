"""Scripts and programs that behave badly, and what each form passes on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_resource_service import ServiceConfig, ServiceResource

from safekit_sdk import ConfigError, ResourceState, Transition
from safekit_sdk.process import Family
from safekit_sdk.procfs import process_stat
from safekit_sdk.testing import RecordingContext, a_context
from safekit_sdk.verdict import Health

Make = Callable[..., ServiceResource]


def script(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[ServiceResource] = []

    def build(scope: str = "prim", **settings: Any) -> ServiceResource:
        config = ServiceConfig.model_validate(settings)
        context = a_context(tmp_path, name="it", scope=scope, settings={"COLOUR": "blue"})
        made.append(ServiceResource(config, context))
        return made[-1]

    yield build
    for resource in made:
        await resource.stop(True)
        assert family(resource).pids() == frozenset()


def family(resource: ServiceResource) -> Family:
    return Family.of(resource.context, f"service.{resource.context.name}.{resource.context.scope}")


def lines(resource: ServiceResource) -> str:
    assert isinstance(resource.context, RecordingContext)
    return "\n".join(resource.context.lines)


def user_log(resource: ServiceResource) -> str:
    return (resource.context.state_dir / "user.log").read_text()


# -- scripts


async def test_scripts_get_safekits_arguments_and_environment(make: Make, tmp_path: Path) -> None:
    told = 'echo "$(basename $0) $*: $SAFEMODULE $SAFEVAR $SAFEUSERVAR $SAFEUSERBIN $COLOUR"'
    for name in ("start_prim", "stop_prim"):
        script(tmp_path / "bin" / name, told)
    resource = make(scripts=str(tmp_path / "bin"))
    resource.change = Transition("SECOND", "ALONE", "takeover")
    await resource.start()
    resource.change = Transition("ALONE", "STOP", "stop")
    await resource.stop(False)
    await resource.stop(True)
    context = resource.context
    places = f"{context.module} {context.run_dir} {context.state_dir} {tmp_path}/bin blue"
    assert f"start_prim SECOND ALONE takeover: {places}" in lines(resource)
    assert f"stop_prim ALONE STOP stop: {places}" in lines(resource)
    assert f"stop_prim force ALONE STOP stop: {places}" in lines(resource)


async def test_a_script_that_fails_or_hangs_is_a_failed_start(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "start_prim", "echo the disk is not there >&2; exit 4")
    with pytest.raises(ConfigError, match="start_prim: exit status 4: the disk is not there"):
        await make(scripts=str(tmp_path / "bin")).start()
    script(tmp_path / "bin" / "start_prim", "sleep 600")
    with pytest.raises(ConfigError, match="start_prim: no end within"):
        await make(scripts=str(tmp_path / "bin"), start_timeout="500ms").start()


async def test_a_stop_script_that_fails_is_told_and_a_forced_one_ends_everything(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "start_prim", "setsid sleep 600 &")
    script(tmp_path / "bin" / "stop_prim", "exit 5")
    resource = make(scripts=str(tmp_path / "bin"))
    await resource.start()
    with pytest.raises(ConfigError, match="stop_prim: exit status 5"):
        await resource.stop(False)
    assert family(resource).pids()
    await resource.stop(True)
    assert family(resource).pids() == frozenset()


async def test_what_a_stop_script_forgot_is_ended_and_noted(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "start_prim", "setsid sleep 600 &")
    resource = make(scripts=str(tmp_path / "bin"))
    await resource.start()
    await resource.stop(False)
    assert family(resource).pids() == frozenset()
    assert "left" in lines(resource)


async def test_a_daemon_that_keeps_the_scripts_output_does_not_hold_it_up(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "start_prim", "sleep 600 & echo started")
    resource = make(scripts=str(tmp_path / "bin"))
    await asyncio.wait_for(resource.start(), 10)
    assert "started" in lines(resource)


async def test_a_script_that_prints_without_end_fills_no_disk(make: Make, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "start_prim", "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo at the end")
    resource = make(scripts=str(tmp_path / "bin"), log_size_kb=64)
    await resource.start()
    assert "at the end" in lines(resource)
    sizes = [path.stat().st_size for path in resource.context.state_dir.glob("user.log*")]
    assert sum(sizes) <= 3 * 64 * 1024


async def test_the_transition_script_is_run_once_whatever_the_number_of_scopes(make: Make, tmp_path: Path) -> None:
    for name in ("start_prim", "start_second", "transition"):
        script(tmp_path / "bin" / name, 'echo "told $*"')
    config = {"scripts": str(tmp_path / "bin")}
    assert ServiceResource.scopes(ServiceConfig.model_validate(config), "mirror") == ("prim", "second")
    first, other = make("prim", **config), make("second", **config)
    for resource in (first, other):
        await resource.transition(Transition("SECOND", "ALONE", "takeover"))
    assert "told SECOND ALONE takeover" in lines(first)
    assert "told" not in lines(other)


def test_scripts_that_are_not_there_or_not_executable_are_told(tmp_path: Path) -> None:
    def told(**settings: Any) -> str:
        return " ".join(ServiceResource.preflight(ServiceConfig.model_validate(settings), "mirror"))

    assert "is not there" in told(scripts=str(tmp_path / "none"))
    assert "none of the scripts" in told(scripts=str(tmp_path))
    Path(script(tmp_path / "start_prim", "true")).chmod(0o644)
    assert "start_prim is not executable" in told(scripts=str(tmp_path))
    assert "/no/program" in told(command=["/no/program"])
    assert "no-such-program" in told(command=["no-such-program"])
    assert "no user 'nobody-here'" in told(command=["sleep", "1"], user="nobody-here")
    assert "/no/place" in told(command=["sleep", "1"], directory="/no/place")
    assert told(command=["sleep", "1"], user="nobody", directory="/tmp") == ""


# -- commands


async def test_a_program_that_ends_at_once_is_a_failed_start_with_its_words(make: Make, tmp_path: Path) -> None:
    program = script(tmp_path / "bad", "echo no such port >&2; exit 7")
    with pytest.raises(ConfigError, match=r"exited with status 7 at once: .*no such port"):
        await make(command=[program], settle="2s").start()


async def test_a_program_that_ignores_sigterm_is_told_and_then_killed(make: Make, tmp_path: Path) -> None:
    program = script(tmp_path / "stubborn", "trap '' TERM; while :; do sleep 1; done")
    resource = make(command=[program], stop_timeout="500ms")
    await resource.start()
    with pytest.raises(ConfigError, match="has not ended within"):
        await resource.stop(False)
    await resource.stop(True)
    assert family(resource).pids() == frozenset()


async def test_what_forks_while_it_is_killed_is_ended_too(make: Make, tmp_path: Path) -> None:
    program = script(tmp_path / "forks", "while :; do setsid sleep 600 & sleep 0.001; done")
    resource = make(command=[program])
    await resource.start()
    await asyncio.sleep(0.2)
    assert len(family(resource).pids()) > 5
    await resource.stop(True)
    assert family(resource).pids() == frozenset()


async def test_a_stopped_program_is_ended(make: Make) -> None:
    resource = make(command=["sleep", "600"])
    await resource.start()
    for pid in family(resource).pids():
        os.kill(pid, signal.SIGSTOP)
    await resource.stop(False)
    assert family(resource).pids() == frozenset()


WAITS = """trap 'echo by signal > {place}/how; exit' TERM
while [ ! -e {place}/stop ]; do sleep 0.05; done
echo by file > {place}/how"""


async def test_a_stop_command_ends_it(make: Make, tmp_path: Path) -> None:
    program = script(tmp_path / "waits", WAITS.format(place=tmp_path))
    resource = make(command=[program], stop_command=["touch", str(tmp_path / "stop")])
    await resource.start()
    await resource.stop(False)
    assert (tmp_path / "how").read_text() == "by file\n"


def open_to_all(place: Path) -> None:
    for folder in (place, *place.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)


async def test_it_runs_as_the_user_in_the_directory(make: Make, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    program = script(tmp_path / "who", "echo $(id -un) in $(pwd); exec sleep 600")
    resource = make(command=[program], user="nobody", directory="/usr", settle="500ms")
    await resource.start()
    assert "nobody in /usr" in user_log(resource)


async def test_a_role_that_changed_is_told_by_the_reload_command(make: Make, tmp_path: Path) -> None:
    resource = make(command=["sleep", "600"], reload=[script(tmp_path / "role", 'echo "now $AFTER"')])
    await resource.transition(Transition("WAIT", "SECOND", "start"))
    await resource.start()
    await resource.transition(Transition("SECOND", "ALONE", "takeover"))
    assert "now ALONE" in lines(resource)
    assert "now SECOND" not in lines(resource)


async def test_the_death_of_the_main_process_is_seen_with_how_it_ended(make: Make) -> None:
    resource = make(command=["sleep", "600"])
    await resource.start()
    watch = resource.watch()
    assert (await anext(watch)).health is Health.UP
    following = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    (pid,) = family(resource).pids()
    os.kill(pid, signal.SIGKILL)
    verdict = await asyncio.wait_for(following, 10)
    assert verdict.health is Health.DOWN
    assert f"{pid} was killed by signal 9" in verdict.reason
    await watch.aclose()  # type: ignore[attr-defined]


async def test_a_pid_file_of_a_stranger_is_not_believed(make: Make, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    program = script(tmp_path / "lies", "true")
    resource = make(command=[program], pidfile=str(tmp_path / "pid"), start_timeout="1s")
    with pytest.raises(ConfigError, match="names no process"):
        await resource.start()
    assert (await resource.status()).state is ResourceState.STOPPED


async def test_no_zombie_is_left(make: Make) -> None:
    resource = make(command=["sleep", "600"])
    await resource.start()
    (pid,) = family(resource).pids()
    await resource.stop(False)
    assert process_stat(pid) is None


# -- units


SYSTEMCTL = """state=%s/unit-state
case "$*" in
  *" start "*) echo active > $state; sleep 600 & echo $! > %s/main ;;
  *" stop "*) kill $(cat %s/main); echo inactive > $state ;;
  *" kill "*) kill -9 $(cat %s/main) ;;
  *ActiveState*) cat $state ;;
  *MainPID*) [ "$(cat $state)" = active ] && cat %s/main || echo 0 ;;
esac"""


async def test_a_unit_is_started_watched_and_stopped_through_systemctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no systemd here: a program with the part of systemctl's documented interface that is used."""
    (tmp_path / "unit-state").write_text("inactive\n")
    script(tmp_path / "path" / "systemctl", SYSTEMCTL.replace("%s", str(tmp_path)))
    monkeypatch.setenv("PATH", f"{tmp_path}/path:{os.environ['PATH']}")
    resource = ServiceResource(ServiceConfig(unit="postgresql.service"), a_context(tmp_path, name="it"))
    assert (await resource.status()).state is ResourceState.STOPPED
    await resource.start()
    assert (await resource.status()).state is ResourceState.STARTED
    watch = resource.watch()
    assert (await anext(watch)).health is Health.UP
    await watch.aclose()  # type: ignore[attr-defined]
    await resource.stop(False)
    assert (await resource.status()).state is ResourceState.STOPPED


async def test_a_machine_without_systemd_says_so(tmp_path: Path) -> None:
    resource = ServiceResource(ServiceConfig(unit="postgresql.service"), a_context(tmp_path, name="it"))
    with pytest.raises(ConfigError, match=r"postgresql\.service: .*systemd"):
        await resource.start()


# -- settings


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "none is given"),
        ({"command": ["a"], "unit": "b.service"}, "command and unit are given"),
        ({"command": []}, "command"),
        ({"scripts": "bin"}, "absolute"),
        ({"unit": "a b"}, "unit"),
        ({"unit": "a.service", "user": "x"}, "goes with scripts or command"),
        ({"scripts": "/bin", "stop_command": ["a"]}, "goes with command"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        ServiceConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "ident"),
    [
        ({"command": ["/usr/bin/redis-server", "x"]}, "redis-server"),
        ({"unit": "postgresql@15-main.service"}, "postgresql_15-main"),
        ({"scripts": "/etc/safekit/modules/shop/bin"}, "shop"),
        ({"unit": "a.service", "name": "b"}, "b"),
    ],
)
def test_the_identifier_says_what_it_is(settings: dict[str, Any], ident: str) -> None:
    assert ServiceResource.ident(ServiceConfig.model_validate(settings)) == ident
