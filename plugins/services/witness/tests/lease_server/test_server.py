"""The server: who may ask, what it bears, what it does when the disk fails, what the operator can do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from safekit_witness import wire
from safekit_witness.directory import Directory
from safekit_witness.limits import MAX_MEMORY_BYTES, MemoryLimit
from safekit_witness.store import Store
from safekit_witness.tokens import Token

from safekit_sdk import ConfigError, Lease, PeerError, Refusal

from .servers import PATIENCE_S, WitnessProcess, a_node, command, free_port, program, running, until_given


def raw(token: Token, secret: str = "", server_key: str = "") -> zmq.Socket[bytes]:
    """A socket of somebody who keeps to nothing."""
    pair = wire.pair_of(secret or token.secret_key)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.curve_publickey, socket.curve_secretkey = pair.public.encode(), pair.secret.encode()
    socket.curve_serverkey = (server_key or token.server_key).encode()
    socket.connect(wire.endpoint(token.address, token.port))
    return socket


@pytest.fixture(autouse=True, scope="module")
def _no_context_is_left() -> Iterator[None]:
    yield
    zmq.Context.instance().term()


def memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def eventually(what: Callable[[], Any]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


async def lives(one: WitnessProcess, tmp_path: Path) -> None:
    """It serves another cluster."""
    node = a_node(tmp_path, one.admit())
    try:
        assert isinstance(await until_given(node, "node1"), Lease)
    finally:
        await node.close()


async def test_a_wrong_key_on_either_side_is_refused(one: WitnessProcess, tmp_path: Path) -> None:
    token = Token.parse(one.admit())
    stranger = Token(token.address, token.port, token.server_key, wire.key_pair().secret)
    impostor = Token(token.address, token.port, wire.key_pair().public, token.secret_key)
    for wrong in (stranger, impostor):
        node = a_node(tmp_path, str(wrong))
        with pytest.raises(PeerError, match="no answer from"):
            await node.acquire("web", "node1", 0)
        await node.close()
    assert "belongs to no cluster that was admitted" in one.log
    await lives(one, tmp_path)


async def test_a_cluster_touches_its_own_modules_only(one: WitnessProcess, tmp_path: Path) -> None:
    nodes = [a_node(tmp_path, one.admit()) for _ in range(2)]
    leases = [await until_given(node, "node1", "shared") for node in nodes]
    assert [lease.epoch for lease in leases] == [1, 1]
    for node in nodes:
        await node.close()


MALFORMED = [
    b"",
    b"{",
    b"\xff" * 100,
    b"null",
    b"[" * 4000,
    b'{"v":2,"id":"1","module":"m","event":{"kind":"probe"}}',
    b'{"v":1,"id":"1","module":"m","event":{"kind":"steal"}}',
    b'{"v":1,"id":"1","module":"m","event":{"kind":"probe"},"more":1}',
    json.dumps({"v": 1, "id": "1", "module": "m" * 129, "event": {"kind": "probe"}}).encode(),
    json.dumps(
        {"v": 1, "id": "1", "module": "m", "event": {"kind": "acquire", "node": "n", "epoch": -1, "ttl_s": 5}}
    ).encode(),
    b'{"v":1,"id":"1","module":"m","event":{"kind":"acquire","node":"n","epoch":1,"ttl_s":1e999}}',
    json.dumps(
        {"v": 1, "id": "1", "module": "m", "event": {"kind": "acquire", "node": "n", "epoch": 1, "ttl_s": 3601}}
    ).encode(),
]


async def test_malformed_and_oversized_messages_are_refused(one: WitnessProcess, tmp_path: Path) -> None:
    socket = raw(Token.parse(one.admit()))
    for data in MALFORMED:
        socket.send(data)
        assert socket.poll(10_000)
        reply = json.loads(socket.recv())
        assert (reply["v"], reply["id"], reply["reply"]["kind"]) == (1, "", "failed")
    socket.send_multipart([b"one", b"two"])
    socket.send(b"x" * 100_000)
    socket.close(0)
    await lives(one, tmp_path)


async def test_a_flood_is_dropped_and_others_are_served(one: WitnessProcess, tmp_path: Path) -> None:
    socket = raw(Token.parse(one.admit()))
    node = a_node(tmp_path, one.admit(), timeout="900ms")
    lease = await until_given(node, "node1")
    request = json.dumps({"v": 1, "id": "1", "module": "m", "event": {"kind": "probe"}}).encode()
    served = 0
    until_s = time.monotonic() + 1.0
    while time.monotonic() < until_s:
        for _ in range(500):
            socket.send(request)
        with contextlib.suppress(PeerError):
            served += isinstance(await node.renew("web", "node1", lease.epoch), Lease)
    assert served
    eventually(lambda: "asks too much" in one.log)
    socket.close(0)
    await node.close()
    assert memory_bytes(one.pid) < MAX_MEMORY_BYTES


def test_memory_over_the_limit_is_seen_and_what_stays_counts_as_ours() -> None:
    limit = MemoryLimit()
    assert not limit.is_over(MAX_MEMORY_BYTES)
    assert limit.is_over(MAX_MEMORY_BYTES + 1)
    limit.settle(MAX_MEMORY_BYTES)
    assert not limit.is_over(MAX_MEMORY_BYTES + 1)
    limit.settle(0)
    assert limit.is_over(MAX_MEMORY_BYTES + 1)


async def test_expelling_a_cluster_closes_its_connections_and_keeps_its_epochs(
    one: WitnessProcess, tmp_path: Path
) -> None:
    paris, rome = a_node(tmp_path, one.admit("paris")), a_node(tmp_path, one.admit("rome"))
    try:
        await until_given(rome, "node1")
        lease = await until_given(paris, "node1")
        one.ask(op="expel", cluster="paris")
        with pytest.raises(ConfigError, match="still counts"):
            one.ask(op="expel", cluster="paris", forget=True)
        with pytest.raises(PeerError):
            await paris.renew("web", "node1", lease.epoch)
        assert one.connections() <= 1
        assert isinstance(await until_given(rome, "node1"), Lease)
        again = a_node(tmp_path, one.admit("paris"))
        assert isinstance(await again.acquire("web", "node2", 0), Refusal)
        assert (await until_given(again, "node2")).epoch > lease.epoch
        await again.close()
    finally:
        await paris.close()
        await rome.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 256 KiB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)], check=True)
    yield where
    subprocess.run(["umount", str(where)], check=True)


async def test_a_full_disk_gives_nothing_away_renews_and_recovers(small_disk: Path, tmp_path: Path) -> None:
    with running(small_disk, log_directory=tmp_path) as (server,):
        node = a_node(tmp_path, server.admit("paris"))
        try:
            lease = await until_given(node, "node1")
            ballast = fill(small_disk)
            with pytest.raises(PeerError, match="disk of the witness is full"):
                for number in range(1000):
                    await node.acquire(f"module{number}", "node1", 0)
            assert isinstance(await node.renew("web", "node1", lease.epoch), Lease)
            assert "no lease is given: the disk of the witness is full" in server.log
            ballast.unlink()
            assert isinstance(await node.acquire("last", "node1", 0), Lease)
            assert "leases can be given again" in server.log
        finally:
            await node.close()


def fill(directory: Path) -> Path:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    return ballast


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_bytes(path: Path) -> None:
    path.write_bytes(b"\x5a" * 24576)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another_epoch(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE leases SET epoch = 1, greatest = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [empty, other_bytes, half, another_epoch, Path.unlink])
def test_a_damaged_or_lost_store_is_an_error_and_no_empty_start(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    from safekit_witness.leases import Record

    place = Directory(tmp_path / "w")
    place.create("127.0.0.1", 4810)
    store = Store(place.store_path)
    store.keep([("paris", f"web{n}", Record("node1", 7, 7, 10.0)) for n in range(100)])
    store.close()
    damage(place.store_path)
    with pytest.raises(ConfigError, match=r"damaged|there is no store") as caught:
        Store(place.store_path)
    assert "wait until no lease of it can still count" in caught.value.hint


def in_format_1(path: Path) -> None:
    """As it was before it was kept to whom an epoch was given."""
    from safekit_witness.store import _seal

    connection = sqlite3.connect(path)
    columns = "cluster, module, node, epoch, greatest, ttl_s"
    rows = connection.execute(f"SELECT {columns} FROM leases").fetchall()
    connection.executescript(
        "DROP TABLE leases; PRAGMA user_version = 1; CREATE TABLE leases (cluster TEXT NOT NULL, module TEXT NOT NULL, "
        "node TEXT NOT NULL, epoch INTEGER NOT NULL, greatest INTEGER NOT NULL, ttl_s REAL NOT NULL, "
        "seal INTEGER NOT NULL, PRIMARY KEY (cluster, module)) STRICT;"
    )
    connection.executemany("INSERT INTO leases VALUES (?,?,?,?,?,?,?)", [(*row, _seal(*row)) for row in rows])
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_store_that_does_not_say_to_whom_epochs_were_given_is_taken_over_as_if_to_others(
    tmp_path: Path, damaged: bool
) -> None:
    from safekit_witness.leases import Record
    from safekit_witness.past import Past

    place = Directory(tmp_path / "w")
    place.create("127.0.0.1", 4810)
    store = Store(place.store_path)
    store.admit("paris", "key")
    store.keep([("paris", "web", Record("node1", 7, 9, 10.0))])
    store.close()
    in_format_1(place.store_path)
    if damaged:
        another_epoch(place.store_path)
        with pytest.raises(ConfigError, match="damaged"):
            Store(place.store_path)
        return
    for _ in range(2):
        store = Store(place.store_path)
        assert store.clients() == {"key": "paris"}
        assert store.leases() == [("paris", "web", Record("node1", 7, 9, 10.0, Past(others=9)))]
        assert [row[2].given_to_others(node) for row in store.leases() for node in ("node1", "node2")] == [("", 9)] * 2
        store.close()


def test_two_processes_do_not_share_a_store(one: WitnessProcess) -> None:
    with pytest.raises(RuntimeError, match="is in use"):
        program("run", directory=one.directory)


def test_after_an_error_of_the_disk_nothing_is_kept_until_a_new_start(tmp_path: Path) -> None:
    from safekit_witness.leases import Record
    from safekit_witness.store import KeepError

    place = Directory(tmp_path / "w")
    place.create("127.0.0.1", 4810)
    store = Store(place.store_path)
    record = Record("node1", 1, 1, 10.0)
    store._failed(sqlite3.OperationalError("disk I/O error"))
    with pytest.raises(KeepError, match="has to be started anew"):
        store.keep([("paris", "web", record)])
    store.close()


def test_rights_are_given_up(tmp_path: Path) -> None:
    with running(tmp_path) as (server,):
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        server.kill(signal.SIGTERM)
        nobody = pwd.getpwnam("nobody")
        Directory(server.directory).own(nobody.pw_uid, nobody.pw_gid)
        for parent in (tmp_path, *tmp_path.parents[:2]):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
        server.start()
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody.pw_uid
        server.admit("paris")


def test_the_operator_makes_a_witness_and_sees_what_it_says(tmp_path: Path) -> None:
    directory = tmp_path / "w"
    command("init", "--address", "127.0.0.1", "--port", str(free_port()), directory=directory)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())] == [0o700, 0o600, 0o600]
    lines = command("admit", "paris", directory=directory).splitlines()
    assert len(lines) == 1
    token = Token.parse(lines[0])
    everything = b"".join(path.read_bytes() for path in directory.iterdir())
    assert token.secret_key.encode() not in everything, "only the public half is kept"
    assert wire.pair_of(token.secret_key).public.encode() in everything
    assert json.loads(command("show", "-o", "json", directory=directory))[0]["cluster"] == "paris"
    assert "paris" in command("show", directory=directory)
    assert f"run --dir {directory}" in command("unit", directory=directory)
    assert program("show", directory=directory) == command("show", directory=directory)
    for words, what in [
        (("init",), "is not empty"),
        (("admit", "paris"), "is admitted already"),
        (("admit", "a b"), "name of a cluster"),
        (("expel", "x"), "no cluster"),
    ]:
        with pytest.raises(RuntimeError, match=what):
            command(*words, directory=directory)
    command("expel", "paris", directory=directory)
    assert json.loads(command("show", "-o", "json", directory=directory)) == []


def test_show_tells_the_holder_its_epoch_and_the_seconds_left(one: WitnessProcess, tmp_path: Path) -> None:
    async def hold() -> Lease:
        node = a_node(tmp_path, one.admit("shown"))
        try:
            return await until_given(node, "node1")
        finally:
            await node.close()

    lease = asyncio.run(hold())
    shown = [line for line in one.ask(op="show") if line["cluster"] == "shown"]
    assert [(line["module"], line["holder"], line["epoch"]) for line in shown] == [("web", "node1", lease.epoch)]
    assert 0 < shown[0]["seconds_left"] <= 1.25 * lease.ttl_s


@pytest.mark.parametrize("line", [b"", b"{}\n", b"x" * 10_000, b'{"v":1,"op":"admit","cluster":"paris"}\n'])
def test_a_wrong_word_on_the_operators_socket_changes_nothing(one: WitnessProcess, line: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(one.directory / "control.sock"))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
    assert isinstance(one.ask(op="show"), list)


async def test_names_of_a_cluster_do_not_steer_the_operators_terminal(one: WitnessProcess, tmp_path: Path) -> None:
    node = a_node(tmp_path, one.admit())
    await until_given(node, "\x1b[2J[red]node", "\x1b]0;module")
    await node.close()
    shown = await asyncio.to_thread(command, "show", directory=one.directory)
    assert "\x1b" not in shown
    assert "[2J[red]node" in shown


def test_an_operator_is_told_when_the_address_cannot_be_listened_on(tmp_path: Path) -> None:
    Directory(tmp_path / "w").create("192.0.2.1", 4810)
    with pytest.raises(RuntimeError, match="is the address one of this machine"):
        program("run", directory=tmp_path / "w")
