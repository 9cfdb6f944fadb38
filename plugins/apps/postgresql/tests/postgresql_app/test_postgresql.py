"""What is PostgreSQL's own: recovery, what a crash leaves, how it stops, and where its data are."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_postgresql import PostgresqlApp, PostgresqlConfig, lock_file
from safekit_postgresql.processes import Processes

from postgresql_app.database import PROGRAMS, USER, Database
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.process import Family
from safekit_sdk.procfs import arguments
from safekit_sdk.testing import RecordingContext, a_context, watched

BOUND_S = 20.0
ROWS = "CREATE TABLE rows AS SELECT generate_series(1, 1000) AS row"
HOLD = "BEGIN; SELECT pg_sleep(600)"


@pytest_asyncio.fixture
async def app(base: Database, tmp_path: Path) -> AsyncIterator[PostgresqlApp]:
    made = make(base, tmp_path)
    yield made
    await made.stop(True)


def make(base: Database, tmp_path: Path, **settings: Any) -> PostgresqlApp:
    config = PostgresqlConfig.model_validate({**base.settings, **settings})
    return PostgresqlApp(config, a_context(tmp_path, name="postgresql"))


def processes(app: PostgresqlApp) -> Processes:
    return Processes(Family.of(app.context, "postgresql.postgresql"), app.config.data)


def lines(app: PostgresqlApp) -> str:
    assert isinstance(app.context, RecordingContext)
    return "\n".join(app.context.lines)


def server(app: PostgresqlApp) -> int:
    pid = processes(app).main()
    assert pid is not None
    return pid


def backend(app: PostgresqlApp, title: str) -> int:
    return next((pid for pid in processes(app).pids() if title in " ".join(arguments(pid))), 0)


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not there():  # noqa: ASYNC110 - what is waited for is on the machine
            await asyncio.sleep(0.02)


def popen(argv: list[str]) -> subprocess.Popen[bytes]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(argv, user=USER, group=USER, extra_groups=(), env={"PATH": "/usr/bin"}, cwd="/", **quiet)


@contextmanager
def client(base: Database, app: PostgresqlApp) -> Iterator[subprocess.Popen[str]]:
    """One that holds a transaction open."""
    started = base.start_sql(HOLD)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


async def test_what_was_committed_is_there_after_the_server_was_killed(base: Database, app: PostgresqlApp) -> None:
    await app.start()
    base.sql(ROWS)
    main = server(app)
    os.kill(main, signal.SIGKILL)
    await until(lambda: processes(app).main() is None)
    await app.start()
    assert server(app) != main
    assert base.sql("SELECT count(*) FROM rows") == "1000"


async def test_backends_that_outlive_their_server_are_found_without_cgroup_and_marker_and_ended(
    base: Database, app: PostgresqlApp
) -> None:
    await app.start()
    with client(base, app):
        await until(lambda: backend(app, "SELECT"))
        busy = backend(app, "SELECT")
        os.kill(busy, signal.SIGSTOP)
        os.kill(server(app), signal.SIGKILL)
        await until(lambda: processes(app).main() is None)
        status = await app.status()
        assert status.state is ResourceState.FAILED
        assert str(busy) in status.detail
        await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED


async def test_a_backend_that_crashes_is_recovered_from_without_a_verdict_down(
    base: Database, app: PostgresqlApp
) -> None:
    await app.start()
    main = server(app)
    async with watched(app) as said:
        await said.becomes(Health.UP)
        with client(base, app):
            await until(lambda: backend(app, "SELECT"))
            os.kill(backend(app, "SELECT"), signal.SIGKILL)
        await until(lambda: base.sql("SELECT 1") == "1")
    assert Health.DOWN not in {verdict.health for verdict in said.verdicts}
    assert server(app) == main


async def test_the_death_of_the_server_is_said_without_a_question(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, interval="1h")
    try:
        await app.start()
        async with watched(app) as said:
            await said.becomes(Health.UP)
            os.kill(server(app), signal.SIGKILL)
            assert "ended" in (await said.becomes(Health.DOWN)).reason
    finally:
        await app.stop(True)


async def test_a_server_that_answers_no_more_is_down(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, timeout="300ms")
    try:
        await app.start()
        async with watched(app) as said:
            await said.becomes(Health.UP)
            os.kill(server(app), signal.SIGSTOP)
            assert "does not answer" in (await said.becomes(Health.DOWN)).reason
    finally:
        await app.stop(True)


async def test_a_query_that_fails_is_down_and_says_why(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, query="SELECT * FROM no_such_table")
    try:
        with pytest.raises(ConfigError, match="no_such_table"):
            await app.start()
    finally:
        await app.stop(True)


async def test_no_free_connection_and_no_entry_are_not_down(base: Database, app: PostgresqlApp) -> None:
    await app.start()
    with client(base, app) as one:
        held = [one, *(base.start_sql(HOLD) for _ in range(9))]
        await until(lambda: not base.sql("SELECT 1"))
        verdict = await app._look()
        for process in held[1:]:
            process.kill()
            process.communicate()
    assert (verdict.health, "short of connections" in verdict.reason) == (Health.UNKNOWN, True)
    await app.stop(False)
    await app.start()
    (base.data / "pg_hba.conf").write_text("local all all reject\n")
    os.kill(server(app), signal.SIGHUP)
    await until(lambda: not base.sql("SELECT 1"))
    verdict = await app._look()
    assert (verdict.health, "pg_hba.conf" in verdict.reason) == (Health.UNKNOWN, True)


async def test_an_error_in_the_configuration_is_told_with_file_and_line(base: Database, app: PostgresqlApp) -> None:
    base.write("no_such_setting = on\n")
    with pytest.raises(ConfigError, match=rf"no_such_setting.*{base.file}.*|{base.file}"):
        await app.start()
    assert processes(app).pids() == frozenset()


async def test_a_lock_file_whose_process_is_another_program_now_does_not_hinder_a_start(
    base: Database, app: PostgresqlApp
) -> None:
    lock = base.data / lock_file.NAME
    stranger = popen(["sleep", "600"])
    try:
        lock.write_text(f"{stranger.pid}\n{base.data}\n1700000000\n5432\n{base.place}\n\n 1 99999999\nready   \n")
        shutil.chown(lock, USER, USER)
        await app.start()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert f"removed {lock}" in lines(app)
    assert base.sql("SELECT 1") == "1"


async def test_a_server_that_somebody_else_started_is_left_alone_and_nothing_runs_twice(
    base: Database, app: PostgresqlApp
) -> None:
    argv = [str(PROGRAMS / "postgres"), "-D", str(base.data)]
    other = popen(argv)
    try:
        await until(lambda: base.sql("SELECT 1"))
        with pytest.raises(ConfigError, match=f"another PostgreSQL runs on .*: {other.pid}"):
            await app.start()
        await app.stop(True)
        assert (await app.status()).state is ResourceState.STOPPED
        assert base.sql("SELECT 1") == "1"
    finally:
        other.send_signal(signal.SIGQUIT)
        other.wait(BOUND_S)


@pytest.mark.parametrize(("smart", "leaves"), [("10s", True), ("100ms", False)], ids=["it leaves", "it stays"])
async def test_a_stop_waits_for_clients_as_long_as_it_was_told(
    base: Database, tmp_path: Path, smart: str, leaves: bool
) -> None:
    app = make(base, tmp_path, smart=smart)
    try:
        await app.start()
        base.sql("CREATE TABLE late (number int)")
        hold = base.start_sql("BEGIN; INSERT INTO late VALUES (1); SELECT pg_sleep(1); COMMIT")
        await until(lambda: backend(app, "SELECT") or backend(app, "INSERT") or backend(app, "idle in"))
        await app.stop(False)
        hold.communicate(timeout=BOUND_S)
        assert processes(app).pids() == frozenset()
        await app.start()
        assert base.sql("SELECT count(*) FROM late") == str(int(leaves))
    finally:
        await app.stop(True)


async def test_a_stop_whose_checkpoint_takes_too_long_loses_nothing(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, stop_timeout="9s")
    try:
        await app.start()
        base.sql(ROWS)
        os.kill(backend(app, "checkpointer"), signal.SIGSTOP)
        await app.stop(False)
        assert processes(app).pids() == frozenset()
        assert "no last checkpoint" in lines(app)
        await app.start()
        assert base.sql("SELECT count(*) FROM rows") == "1000"
    finally:
        await app.stop(True)


async def test_settings_that_lose_transactions_are_told(base: Database, app: PostgresqlApp) -> None:
    await app.start()
    base.sql("ALTER ROLE postgres SET synchronous_commit = off")
    await app.stop(False)
    base.write("full_page_writes = off\n")
    assert "full_page_writes is off" in " ".join(PostgresqlApp.preflight(app.config, "mirror"))
    await app.start()
    assert "full_page_writes is off of the server" in lines(app)
    assert "synchronous_commit is off of  postgres" in lines(app)


async def test_tablespaces_and_wal_elsewhere_are_replicated_by_the_module_file(
    base: Database, app: PostgresqlApp
) -> None:
    space, wal = base.place / "space", base.place / "wal"
    space.mkdir()
    shutil.chown(space, USER, USER)
    shutil.move(base.data / "pg_wal", wal)
    (base.data / "pg_wal").symlink_to(wal)
    await app.start()
    base.sql(f"CREATE TABLESPACE space LOCATION '{space}'")
    asked = ModuleRequest("shop", "mirror", ("10.0.0.100/24",), options={"data": str(base.data)})
    steps = PostgresqlApp.module_file(asked)["pipeline"]
    assert [step["rfs"]["directory"] for step in steps if "rfs" in step] == [str(base.data), str(wal), str(space)]
    assert steps[0]["rfs"]["exclude"] == ["postmaster.pid"]
    await app.stop(False)
    shutil.rmtree(space)
    assert "add `rfs:" in " ".join(PostgresqlApp.preflight(app.config, "mirror"))
    with pytest.raises(ConfigError, match="which is not there"):
        PostgresqlApp.module_file(asked)


def test_debians_cluster_is_found_with_its_configuration(monkeypatch: pytest.MonkeyPatch, base: Database) -> None:
    from safekit_postgresql import module_file

    version = (base.data / "PG_VERSION").read_text().strip()
    folder = base.place / "etc" / version / "main"
    folder.mkdir(parents=True)
    shutil.move(base.file, folder)
    with (folder / "postgresql.conf").open("a") as file:
        file.write(f"data_directory = '{base.data}'\n")
    monkeypatch.setattr(module_file, "DEBIAN", base.place / "etc")
    monkeypatch.setattr(module_file, "OTHERS", base.place / "none")
    base.place.chmod(0o755)
    content = PostgresqlApp.module_file(ModuleRequest("shop", "mirror", ("10.0.0.100/24",)))
    config = str(folder / "postgresql.conf")
    assert content["pipeline"][1] == {"rfs": {"name": "configuration", "directory": str(folder)}}
    assert content["pipeline"][-1] == {"postgresql": {"data": str(base.data), "config": config}}
    assert "isolation" not in content


@pytest.mark.parametrize(
    "asked",
    [
        ModuleRequest("shop", "farm", ("10.0.0.100/24",)),
        ModuleRequest("shop", "mirror"),
        ModuleRequest("shop", "mirror", ("10.0.0.100/24",), port=5432),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(asked: ModuleRequest) -> None:
    with pytest.raises(ConfigError) as told:
        PostgresqlApp.module_file(asked)
    assert told.value.hint


@pytest.mark.parametrize("settings", [{"data": "pg"}, {"data": "/x/../y"}, {"stop_timeout": "5s"}, {"smart": "1m"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PostgresqlConfig.model_validate({"data": "/srv/pg", **settings})


def test_a_directory_without_data_is_told_only_where_it_has_content(tmp_path: Path) -> None:
    config = PostgresqlConfig(data=tmp_path)
    assert PostgresqlApp.preflight(config, "mirror") == []
    (tmp_path / "else").touch()
    assert "PG_VERSION" in " ".join(PostgresqlApp.preflight(config, "mirror"))
    (tmp_path / "README.safekit").touch()
    assert PostgresqlApp.preflight(config, "mirror") == []
    assert "create it" in " ".join(PostgresqlApp.preflight(PostgresqlConfig(data=tmp_path / "none"), "mirror"))
