"""How long from a fault to the verdict of the checker that sees it: real faults, the host's own schedule.

`python tests/bench/checkers.py` writes build/bench/checkers.json. Every checker looks once a second and one bad answer
counts, so that a figure is the wait for the next look (half a second in the middle, none where the kernel tells) and
the look itself, with the patience that it has with what is silent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from figures import Figure, figures, table, write

from safekit.host.instances import Check
from safekit.host.watching import Watching
from safekit.plugins import discovery, load
from safekit_sdk import Checker, Health, Verdict, arp
from safekit_sdk.testing import Namespace, a_context, network_namespace

RUNS = 5
BOUND_S = 15.0
STOLEN = "10.7.0.100"
LOOK = {"interval": "1s", "timeout": "2s", "fall": 1, "rise": 1}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Act = Callable[[], Awaitable[None]]


@dataclass
class Subject:
    """A checker with the thing that it watches, which is good at first."""

    name: str
    checker: Checker[Any]
    fail: Act
    mend: Act


class Seen:
    """What the host is told of each checker."""

    def __init__(self) -> None:
        self.last: dict[str, Verdict] = {}
        self.downs: list[str] = []
        self._news = asyncio.Event()

    def say(self, name: str, verdict: Verdict) -> None:
        self.last[name] = verdict
        if verdict.health is Health.DOWN:
            self.downs.append(f"{name}: {verdict.reason}")
        self._news.set()

    async def until(self, name: str, health: Health) -> float:
        """When it was said. TimeoutError after BOUND_S, with what was said instead."""
        try:
            async with asyncio.timeout(BOUND_S):
                while name not in self.last or self.last[name].health is not health:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"{name} is not {health.value} but {self.last.get(name)}") from None
        return time.monotonic()


def checker(place: Path, plugin: str, name: str, **settings: Any) -> Checker[Any]:
    made = load(discovery.CHECKERS, plugin)
    config = made.config_model.model_validate({"name": name, **LOOK, **settings})
    (place / name).mkdir()
    found: Checker[Any] = made(config, a_context(place / name, name=name))
    return found


def launched(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv)


class Program:
    """A process with a name of its own."""

    def __init__(self, place: Path, name: str) -> None:
        self.path = place / name
        shutil.copy("/bin/sleep", self.path)
        (place / "elsewhere").mkdir(exist_ok=True)
        self._other = Path(shutil.copy("/bin/sleep", place / "elsewhere" / name))
        self._running: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        self.end()
        self._running.append(launched(str(self.path), "600"))

    async def kill(self) -> None:
        self._running[0].kill()

    async def stop(self) -> None:
        self._running[0].send_signal(signal.SIGSTOP)

    async def replace(self) -> None:
        self._running[0].kill()
        self._running.append(launched(str(self._other), "600"))

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait(10)
        self._running.clear()


class Web:
    """A server that answers, is silent, or is gone; with TLS if there is a certificate."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self._silent = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._silent = False
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)

    async def hush(self) -> None:
        self._silent = True

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def showing(self, file: Path) -> Act:
        """From now on it has this certificate."""

        async def show() -> None:
            assert self._tls is not None
            self._tls.load_cert_chain(file)

        return show

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if self._silent:
                await reader.read()
            else:
                writer.write(GOOD)
        writer.close()


def certificate(place: Path, days: float) -> Path:
    """Signed by itself, and trusted by who is given it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    path = place / f"certificate{days:+g}.pem"
    path.write_bytes(made.public_bytes(encoding) + private)
    return path


class Names(asyncio.DatagramProtocol):
    """A DNS server with one answer for every question."""

    transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        if self.transport is None:
            loop = asyncio.get_running_loop()
            self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 5353))

    async def end(self) -> None:
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def datagram_received(self, data: bytes, addr: Any) -> None:
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01"
        if self.transport is not None:
            self.transport.sendto(data[:2] + b"\x84\x00\0\x01\0\x01\0\0\0\0" + data[12:] + record, addr)


class Wire:
    """The other machine of the network: it takes its end of the cable out, or an address that is not its own."""

    def __init__(self, there: Namespace) -> None:
        self._there = there

    async def cut(self) -> None:
        self._there.command("ip", "link", "set", "eth0", "down")

    async def join(self) -> None:
        self._there.command("ip", "link", "set", "eth0", "up")

    async def steal(self) -> None:
        self._there.command("ip", "address", "add", f"{STOLEN}/24", "dev", "eth1")
        mac = bytes.fromhex(self._there.command("cat", "/sys/class/net/eth1/address").strip().replace(":", ""))
        with self._there.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as card:
            card.bind(("eth1", 0))
            for frame in arp.announcements(mac, IPv4Address(STOLEN)):
                card.send(frame)

    async def give_back(self) -> None:
        self._there.command("ip", "address", "delete", f"{STOLEN}/24", "dev", "eth1")


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[tuple[Act, Act]]:
    """A file system of a MiB; what fills it, and what empties it again."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)], check=True, timeout=10)

    async def fill() -> None:
        with contextlib.suppress(OSError):
            (path / "large").write_bytes(bytes(2 << 20))

    async def empty() -> None:
        (path / "large").unlink(missing_ok=True)

    try:
        yield fill, empty
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=10)


@contextlib.asynccontextmanager
async def subjects(place: Path, there: Namespace) -> AsyncIterator[list[Subject]]:
    """One of each kind, all good."""
    async with contextlib.AsyncExitStack() as left:
        fill, empty = left.enter_context(small_disk(place / "disk"))
        programs = [Program(place, f"sk-bench-{n}") for n in range(3)]
        old, new = certificate(place, -1), certificate(place, 30)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(new)
        plain, silent, secure = Web(8001), Web(8002), Web(8003, tls)
        names, wire = Names(), Wire(there)
        starts = [program.start for program in programs]
        for start in (*starts, plain.start, silent.start, secure.start, names.start):
            await start()
        left.push_async_callback(names.end)
        for web in (plain, silent, secure):
            left.push_async_callback(web.end)
        for program in programs:
            left.callback(program.end)
        trusted = place / "trusted.pem"
        trusted.write_bytes(new.read_bytes() + old.read_bytes())
        errd = [{"process": program.path.name} for program in programs]
        paths = {"url": "http://127.0.0.1:8002/"}
        tls_url = {"url": "https://127.0.0.1:8003/", "host": "localhost", "verify": str(trusted)}
        tcp = {"port": 8002, "send": "GET / HTTP/1.0\r\n\r\n", "expect": "ok"}
        dns = {"server": "127.0.0.1", "port": 5353, "query": "app.example.org"}
        made: list[tuple[str, str, dict[str, Any], Act, Act]] = [
            ("errd", "killed", errd[0], programs[0].kill, programs[0].start),
            ("errd", "stopped", errd[1] | {"stopped_is_down": True}, programs[1].stop, programs[1].start),
            ("errd", "replaced", {"program": str(programs[2].path)}, programs[2].replace, programs[2].start),
            ("tcp", "refused", {"port": 8001}, plain.end, plain.start),
            ("tcp", "silent", tcp, silent.hush, silent.start),
            ("http", "silent_too", paths, silent.hush, silent.start),
            ("http", "expired", tls_url, secure.showing(old), secure.showing(new)),
            ("dns", "dead", dns, names.end, names.start),
            ("disk", "full", {"path": str(place / "disk"), "stall": "1s"}, fill, empty),
            ("intf", "link_down", {"interface": "eth0"}, wire.cut, wire.join),
            ("ping", "away", {"hosts": ["10.8.0.2"], "count": 1}, wire.cut, wire.join),
            ("ip", "stolen", {"address": STOLEN}, wire.steal, wire.give_back),
        ]
        yield [
            Subject(f"{plugin}.{name}", checker(place, plugin, name, **settings), fail, mend)
            for plugin, name, settings, fail, mend in made
        ]


@contextlib.contextmanager
def two_machines() -> Iterator[Namespace]:
    """This thread is on the first, the second is given; two cables join them."""
    with network_namespace() as here, network_namespace() as there:
        for number, network in enumerate(("10.8.0", "10.7.0")):
            card = f"eth{number}"
            here.command("ip", "link", "add", card, "type", "veth", "peer", card, "netns", there.name)
            for host, namespace in enumerate((here, there), 1):
                namespace.command("ip", "link", "set", card, "up")
                namespace.command("ip", "address", "add", f"{network}.{host}/24", "dev", card)
        here.command("ip", "address", "add", f"{STOLEN}/24", "dev", "eth1")
        with here.inside():
            yield there


@contextlib.asynccontextmanager
async def on(made: Sequence[Subject]) -> AsyncIterator[Seen]:
    """The host's own schedule runs them."""
    seen = Seen()
    watching = Watching([Check(one.name, "prim", one.checker) for one in made], seen.say, lambda *_: None)
    watching.start("prim", [])
    try:
        yield seen
    finally:
        await watching.close()


async def measure(place: Path, there: Namespace, runs: int) -> dict[str, list[float]]:
    """Milliseconds from each fault to the verdict, by checker."""
    found: dict[str, list[float]] = {}
    async with subjects(place, there) as made, on(made) as seen:
        for subject in made:
            for _ in range(runs):
                await seen.until(subject.name, Health.UP)
                await asyncio.sleep(random.uniform(0.0, 1.0))  # at any time between two looks
                began_s = time.monotonic()
                await subject.fail()
                told_s = await seen.until(subject.name, Health.DOWN)
                found.setdefault(subject.name, []).append((told_s - began_s) * 1000)
                await subject.mend()
            await seen.until(subject.name, Health.UP)
    return found


async def endure(place: Path, there: Namespace, seconds: float, burners: int) -> tuple[list[str], int]:
    """Nothing fails while other programs want every processor. What was said to be down, and how many are up."""
    burn = [sys.executable, "-c", "while True: pass"]
    async with subjects(place, there) as made, on(made) as seen:
        for subject in made:
            await seen.until(subject.name, Health.UP)
        running = [launched(*burn) for _ in range(burners)]
        try:
            await asyncio.sleep(seconds)
        finally:
            for process in running:
                process.kill()
                process.wait(10)
        return seen.downs, sum(verdict.health is Health.UP for verdict in seen.last.values())


def results(runs: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place, two_machines() as there:
        measured = asyncio.run(measure(Path(place), there, runs))
    return [figure for name, values in measured.items() for figure in figures(name, values, {})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    found = results(parser.parse_args().runs)
    write("checkers", found)
    print(table(found))


if __name__ == "__main__":
    main()
