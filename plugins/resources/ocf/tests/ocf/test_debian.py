"""Debian's own agents, with the real thing: started, watched, broken, stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_ocf import OcfConfig, OcfResource
from safekit_resource_ocf.agents import installed, known_metadata
from safekit_resource_ocf.config import ROOT

from safekit_sdk import Health, ResourceState
from safekit_sdk.testing import Namespace, RecordingContext, network_namespace

from .conftest import Made, watching


async def lives(resource: OcfResource, break_it: Callable[[], object]) -> None:
    """Stopped, started, up, broken and seen to be, stopped, started again, and stopped for good."""
    assert OcfResource.preflight(resource.config, "mirror") == []
    assert OcfResource.scopes(resource.config, "mirror")
    assert (await resource.status()).state is ResourceState.STOPPED
    await resource.start()
    async with watching(resource) as said:
        await said.becomes(Health.UP)
        break_it()
        await said.becomes(Health.DOWN)
    for _ in range(2):
        await resource.stop(False)
        assert (await resource.status()).state is ResourceState.STOPPED
    await resource.start()
    await resource.start()
    assert (await resource.status()).state is ResourceState.STARTED
    await resource.stop(True)
    assert (await resource.status()).state is ResourceState.STOPPED


def kill(pidfile: Path) -> None:
    os.kill(int(pidfile.read_text().split()[0]), signal.SIGKILL)


def command(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=100).stdout


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users can reach."""
    place = Path(tempfile.mkdtemp(prefix="safekit-ocf-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def test_what_each_agent_says_of_itself_is_understood() -> None:
    names = [name for name in installed(ROOT) if name.startswith("heartbeat:")]
    with ThreadPoolExecutor(4) as threads:
        found = dict(zip(names, threads.map(lambda one: known_metadata(OcfConfig(agent=one).path), names), strict=True))
    assert len(found) > 130
    for name, metadata in found.items():
        assert all(metadata.has(action) for action in ("start", "stop", "monitor")), name
        assert metadata.summary, name
        assert metadata.parameters is not None, name
    assert {name for name, metadata in found.items() if metadata.promotable} >= {
        f"heartbeat:{name}" for name in ("Stateful", "pgsql", "mariadb", "galera", "redis")
    }


async def test_stateful_is_promoted_and_keeps_its_score(make: Made, context: RecordingContext) -> None:
    resource = make(agent="heartbeat:Stateful", promotable=True, interval="1s")
    await resource.start()
    score = f"attribute master-{context.module}-default"
    assert (await resource.inspect({}))[score] == "5"
    await resource.promote()
    assert (await resource.inspect({}))[score] == "10"
    async with watching(resource) as said:
        assert "exit code 8" in (await said.becomes(Health.UP)).reason
        await resource.demote(False)
        await said.are(2)
        assert "exit code 0" in (await said.becomes(Health.UP)).reason
    await resource.stop(False)
    assert context.lines == []


@pytest.fixture
def wire() -> Iterator[Namespace]:
    with network_namespace() as here, network_namespace() as there:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        there.command("ip", "link", "set", "eth0", "up")
        here.command("ip", "link", "set", "eth0", "up")
        here.command("ip", "address", "add", "10.6.0.1/24", "dev", "eth0")
        yield here


@pytest.mark.long
async def test_ipaddr2_has_an_address(wire: Namespace, make: Made) -> None:
    with wire.inside():
        resource = make(
            agent="heartbeat:IPaddr2",
            parameters={"ip": "10.6.0.100", "cidr_netmask": 24, "arp_count": 1},
            interval="1s",
        )
        await lives(resource, lambda: wire.command("ip", "address", "delete", "10.6.0.100/24", "dev", "eth0"))
        assert "10.6.0.100" not in wire.command("ip", "address")


APACHE = """
ServerName localhost
ServerRoot {place}
PidFile {place}/pid
ErrorLog {place}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
DocumentRoot {place}
"""
NGINX = """
pid {place}/pid;
error_log {place}/error.log;
events {{}}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {place}; }} }}
"""


@pytest.mark.long
async def test_apache_serves(open_place: Path, port: int, make: Made) -> None:
    (open_place / "index.html").write_text("it works")
    (open_place / "apache.conf").write_text(APACHE.format(place=open_place, port=port))
    parameters = {
        "configfile": str(open_place / "apache.conf"),
        "httpd": "/usr/sbin/apache2",
        "statusurl": f"http://127.0.0.1:{port}/index.html",
        "testregex": "it works",
        "envfiles": "/dev/null",
    }
    resource = make(agent="heartbeat:apache", parameters=parameters, interval="1s")
    await lives(resource, lambda: kill(open_place / "pid"))


@pytest.mark.long
async def test_nginx_serves(open_place: Path, port: int, make: Made) -> None:
    (open_place / "index.html").write_text("it works")
    (open_place / "nginx.conf").write_text(NGINX.format(place=open_place, port=port))
    parameters = {
        "configfile": str(open_place / "nginx.conf"),
        "httpd": "/usr/sbin/nginx",
        "port": port,
        "status10url": f"http://127.0.0.1:{port}/index.html",
        "status10regex": "it works",
    }
    resource = make(agent="heartbeat:nginx", parameters=parameters, interval="1s", check_level=10)
    await lives(resource, lambda: kill(open_place / "pid"))


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    command("mkfs.ext4", "-q", image)
    device = command("losetup", "--find", "--show", image).strip()
    yield device
    command("losetup", "--detach", device)


@pytest.mark.long
async def test_a_file_system_is_mounted_and_freed_of_its_users(loop_device: str, tmp_path: Path, make: Made) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    parameters = {"device": loop_device, "directory": str(place), "fstype": "ext4"}
    resource = make(agent="heartbeat:Filesystem", parameters=parameters, interval="1s")
    await lives(resource, lambda: command("umount", place))
    await resource.start()
    user = await asyncio.create_subprocess_exec("sleep", "1000", cwd=place)
    await resource.stop(False)
    assert await asyncio.wait_for(user.wait(), 10) == -signal.SIGTERM
    assert str(place) not in command("findmnt", "--list", "--noheadings", "--output", "TARGET")


@pytest.fixture
def postgresql() -> Path:
    """The directory of the newest one's programs."""
    return max(Path("/usr/lib/postgresql").iterdir()) / "bin"


@pytest.mark.long
async def test_postgresql_answers(open_place: Path, postgresql: Path, port: int, make: Made) -> None:
    shutil.chown(open_place, "postgres")
    data = open_place / "data"
    command("runuser", "-u", "postgres", "--", postgresql / "initdb", "--no-sync", "-A", "trust", "-D", data)
    parameters = {
        "pgctl": str(postgresql / "pg_ctl"),
        "psql": str(postgresql / "psql"),
        "pgdata": str(data),
        "config": str(data / "postgresql.conf"),
        "pgport": port,
        "socketdir": str(open_place),
        "logfile": str(open_place / "log"),
        "start_opt": f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={open_place}",
    }
    resource = make(agent="heartbeat:pgsql", parameters=parameters, interval="1s", start_timeout="30s")
    await lives(resource, lambda: kill(data / "postmaster.pid"))


@pytest.mark.long
async def test_mariadb_answers(open_place: Path, port: int, make: Made) -> None:
    data = open_place / "data"
    command(
        "mariadb-install-db",
        "--user=mysql",
        f"--datadir={data}",
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
    )
    shutil.chown(open_place, "mysql")
    (open_place / "my.cnf").write_text("[mysqld]\n")
    settings: dict[str, Any] = {name: str(open_place / name) for name in ("pid", "socket", "log")}
    settings |= {"datadir": str(data), "config": str(open_place / "my.cnf"), "binary": "/usr/sbin/mariadbd"}
    settings |= {"additional_parameters": f"--port={port} --bind-address=127.0.0.1", "test_table": "mysql.user"}
    resource = make(agent="heartbeat:mysql", parameters=settings, interval="1s", start_timeout="30s")
    await lives(resource, lambda: kill(open_place / "pid"))
