"""The nodes of a lab, as namespaces of this machine, driven by the commands of safekit-lab. They end with this process,
however that ends."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_rehearse.blueprint import Address, Blueprint, Card, ClusterNode
from safekit_rehearse.harm import START
from safekit_sdk import ConfigError, PeerError

LAB: Final = (sys.executable, "-m", "safekit_lab")
SAFEKIT: Final = START[0]
COMMAND_S: Final = 120.0
WAIT_S: Final = 60.0
LOOK_S: Final = 0.5
MAX_FILES_BYTES: Final = 64 << 20
WORLD: Final = "client1"
"""The machine of the lab that plays all that is no node."""
LOG: Final = "what it says of a module is what the module would do on such nodes; the real cluster was not touched"
_DISK: Final = re.compile(r" - (?:(?:nfs|cifs|ceph|zfs|fuse)\S* |\S+ /dev/(?!pts|shm))")
_IN_LAB: Final = 'test "$(cat /proc/1/comm)" = lab-init'
_FRESH: Final = "/var/lib/safekit /var/log/safekit /run/safekit"
Done = subprocess.CompletedProcess[bytes]


def environment() -> dict[str, str]:
    """Nothing of this machine's own safekit is meant for the lab's; and no node of it resets this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAFEKIT_")}
    return kept | {"SAFEKIT_SELF_FENCE": "none", "SAFEKIT_WATCHDOG": "off"}


def cards() -> tuple[Card, ...]:
    """This machine's addresses."""
    try:
        argv = ("ip", "-json", "address", "show")
        done = subprocess.run(argv, capture_output=True, timeout=COMMAND_S, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"the machine's addresses are not known: {error}", hint="apt-get install iproute2") from None
    return tuple(
        Card(link["ifname"], ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}"))
        for link in json.loads(done.stdout)
        for one in link.get("addr_info", ())
    )


def mounts() -> tuple[str, ...]:
    """Where this machine has other file systems than its root's that hold files of its own."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    found = {line.split()[4] for line in lines if _DISK.search(line)}
    return tuple(sorted(one for one in found - {"/"} if not one.startswith(("/dev/", "/proc/", "/run/", "/sys/"))))


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The lab while it is up."""

    name: str
    plan: Blueprint

    @classmethod
    @contextmanager
    def up(cls, plan: Blueprint, disk: str) -> Iterator[Namespaces]:
        """Nodes without safekit, but with the addresses of the real ones. Nothing of them is left after the block."""
        if importlib.util.find_spec(LAB[-1]) is None:
            raise ConfigError("safekit-lab is not installed", hint="pip install 'safekit-rehearse[lab]'")
        made = cls(f"rehearse-{os.getpid()}", plan)
        size = (
            "--nodes",
            str(len(plan.cluster.nodes)),
            "--clients",
            "1",
            "--networks",
            str(len(plan.cluster.networks)),
        )
        try:
            made._lab("up", "--name", made.name, "--owner", str(os.getpid()), "--disk-size", disk, *size)
            made._dress_world()
            for number in range(len(plan.cluster.nodes)):
                made.dress(number)
            yield made
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it ends with this process in any case
                subprocess.run([*LAB, "down", "--name", made.name], capture_output=True, timeout=COMMAND_S, check=False)

    def machine(self, node: str) -> str:
        """What the lab calls the node."""
        return f"node{[one.name for one in self.plan.cluster.nodes].index(node) + 1}"

    def argv(self, machine: str, words: Sequence[str]) -> list[str]:
        return [*LAB, "exec", "--name", self.name, machine, "--", *words]

    def run(self, machine: str, *words: str, stdin: bytes = b"", check: bool = True) -> str:
        return self._done(self.argv(machine, words), stdin, check=check).stdout.decode(errors="replace")

    def safekit(self, node: str, *words: str, stdin: str = "", check: bool = True) -> str:
        return self.run(self.machine(node), SAFEKIT, *words, stdin=stdin.encode(), check=check)

    def background(self, machine: str, *words: str) -> None:
        self._done([*LAB, "exec", "--background", "--name", self.name, machine, "--", *words], b"")

    def crash(self, node: str) -> None:
        self._lab("fault", self.machine(node), "crash", "--name", self.name)

    def boot(self, node: str) -> None:
        self._lab("start", self.machine(node), "--name", self.name)
        self.dress([one.name for one in self.plan.cluster.nodes].index(node))

    def dress(self, number: int) -> None:
        """The addresses and the interfaces' names of the node. They are lost when it crashes."""
        node, plan = self.plan.cluster.nodes[number], self.plan
        first = plan.cluster.networks[0].name
        lines = []
        for place, network in enumerate(plan.cluster.networks):
            if network.name in node.addresses:
                card = plan.card_of(network.name) or f"eth{place}"
                lines += _renamed(f"eth{place}", card)
                own = node.addresses[network.name]
                lines += _addressed(card, [f"{own}/{plan.bits_of(network.name)}"])
                lines += [
                    f"ip route replace {one} dev {shlex.quote(card)}" for one in plan.elsewhere(network.name, own)
                ]
        if first in node.addresses:
            lines.append(f"ip route replace default via {plan.world(first).ip}")
        lines += [
            f"echo {address} {shlex.quote(one.name)} >>/etc/hosts"
            for one in plan.cluster.nodes
            for address in _first(one)
        ]
        self._shell(f"node{number + 1}", lines)

    def _dress_world(self) -> None:
        lines = []
        for place, network in enumerate(self.plan.cluster.networks):
            own = self.plan.world(network.name)
            near = [f"{one}/{one.max_prefixlen}" for one in self.plan.strangers() if one in own.network]
            lines += _addressed(f"eth{place}", [str(own), *near])
        lines += [f"ip address replace {one}/{one.max_prefixlen} dev lo" for one in self.plan.strangers()]
        self._shell(WORLD, lines)

    def furnish(self) -> None:
        """Every node gets a copy of the configuration, without the real cluster's keys and what it knew of its data."""
        plan = self.plan
        leave = [f"--exclude=./{name}" for name in ("cluster.yaml", "node.key", "modules")]
        files = self._done(["tar", "-C", str(plan.etc), *leave, "-cf", "-", "."], b"").stdout
        module = self._done(["tar", "-C", str(plan.etc), "-cf", "-", f"modules/{plan.module}"], b"").stdout
        if len(files) + len(module) > MAX_FILES_BYTES:
            raise ConfigError(
                f"it holds more than {MAX_FILES_BYTES >> 20} MiB",
                where=str(plan.etc),
                hint="move what is no configuration",
            )
        for number, _ in enumerate(plan.cluster.nodes, 1):
            self._shell(f"node{number}", [_IN_LAB, f"rm -rf /etc/safekit {_FRESH}", "mkdir -m 755 /etc/safekit"])
            self.run(f"node{number}", "tar", "-C", "/etc/safekit", "-xf", "-", stdin=files)
        self.run("node1", "tar", "-C", "/etc/safekit", "-xf", "-", stdin=module)

    def wait(self, there: Callable[[], bool], what: str, time_s: float = WAIT_S) -> None:
        until_s = time.monotonic() + time_s
        while not there():
            if time.monotonic() > until_s:
                raise PeerError(f"in the lab, not within {time_s:g} s: {what}", hint=LOG)
            time.sleep(LOOK_S)

    def _shell(self, machine: str, lines: Sequence[str]) -> None:
        self.run(machine, "sh", "-e", stdin="\n".join(lines).encode())

    def _lab(self, *words: str) -> None:
        self._done([*LAB, *words], b"")

    def _done(self, argv: Sequence[str], stdin: bytes, *, check: bool = True) -> Done:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, env=environment(), timeout=COMMAND_S, check=False, cwd="/"
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
            where = " ".join(argv).removeprefix(f"{' '.join(LAB)} ")
            raise PeerError(f"in the lab: {said or f'exit {done.returncode}'}", where=where, hint=LOG)
        return done


def _renamed(old: str, new: str) -> list[str]:
    return [] if old == new else [f"ip link set {old} down", f"ip link set {old} name {shlex.quote(new)}"]


def _addressed(card: str, addresses: Sequence[str]) -> list[str]:
    """Nothing else on it: not the addresses that the lab gave it."""
    card = shlex.quote(card)
    flush = f"ip address flush dev {card} scope global"
    return [flush, f"ip link set {card} up", *(f"ip address add {one} dev {card} nodad" for one in addresses)]


def _first(node: ClusterNode) -> tuple[Address, ...]:
    return tuple(node.addresses.values())[:1]
