"""Applications on the lab: how each is made and added, what a client asks it all the time, and what is there then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import lab_cluster
import ledger
import postgresql_lab
from lab_cluster import VIP, Cluster
from ledger import DIRECTORY, Disks
from recorder import PORT

from safekit_lab.node import Node

SOCKET = "/tmp/database.sock"
MARIADB = f"""\
[mariadbd]
datadir = {DIRECTORY}
socket = {SOCKET}
bind-address = 0.0.0.0
innodb-buffer-pool-size = 16M
innodb-log-file-size = 8M
"""
REDIS = f"dir {DIRECTORY}\nunixsocket {SOCKET}\nbind 0.0.0.0\nprotected-mode no\n"
SAMBA = f"""\
[global]
state directory = {DIRECTORY}
cache directory = {DIRECTORY}
private dir = {DIRECTORY}/private
map to guest = Bad User
disable netbios = yes
load printers = no
printing = bsd
sync always = yes
[data]
path = {DIRECTORY}/files
guest ok = yes
read only = no
force user = root
"""
ENOUGH = 20
"""Right answers that show that a client is served."""
RIGHT, WRONG = "/var/log/right", "/var/log/wrong"
CLIENT = """\
import subprocess, time
number = 0
with open({right!r}, "a", 1) as right, open({wrong!r}, "a", 1) as wrong:
    while True:
        number += 1
        time.sleep(0.05)
        asked = [word.replace("NUMBER", str(number)) for word in {asks!r}]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, timeout=2)
        except subprocess.TimeoutExpired:
            continue  # nobody answers for a moment, which is no wrong answer
        answer = done.stdout.strip()
        if done.returncode == 0:
            is_right = answer in [one.replace("NUMBER", str(number)) for one in {answers!r}]
            print(number, repr(answer), file=right if is_right else wrong)
"""
TELL = f"""\
import socket
with socket.create_connection(("{VIP}", {PORT}), timeout=1) as service:
    service.sendall(b"NUMBER\\n")
    print(service.recv(64).decode().strip())
"""
BALANCED = """\
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
listen web
  bind :80
  server own 127.0.0.1:8080
"""
SERVE = f"{sys.executable} -m http.server"
COUNT = f"""\
import sqlite3
for (number,) in sqlite3.connect("{DIRECTORY}/{ledger.DATABASE}").execute("SELECT number FROM numbers"):
    print(number)
"""


def nothing(*_: object) -> None:
    """For what needs nothing."""


@dataclass(frozen=True, slots=True)
class Application:
    """One of them, as the module `web` at the lab's virtual address."""

    options: tuple[str, ...]
    """Of `module add web --app`: its name first."""
    asks: list[str]
    """What the client runs again and again; NUMBER is another one each time."""
    answers: tuple[str, ...]
    """Any of them is right."""
    process: tuple[str, ...]
    """What its processes are found by: the words of `pgrep`."""
    make: Callable[[Cluster], None] = nothing
    """On the nodes, before it is added."""
    mount: Callable[[Cluster, Node], None] = nothing
    """On a node, after each boot."""
    begin: Callable[[Node], None] = nothing
    """On the primary, once it runs."""
    numbers: Callable[[Node], set[int]] | None = None
    """What is there, asked on the primary; None for one without data, which answers with the name of its node."""
    ended: Callable[[Node], bool] = lambda _: True
    """Whether a stop on the last node let it end by itself, as far as it tells."""

    @property
    def package(self) -> str:
        return f"safekit-{self.options[0]}"

    @property
    def is_farm(self) -> bool:
        """Both nodes run it."""
        return "--port" in self.options


def serve_behind(made: Cluster, node: Node) -> None:
    """What the balancer of a node has behind it."""
    made.write(node, "/etc/web.cfg", BALANCED)
    node.start([*SERVE.split(), "8080", "--directory", "/var/www/html"])


def make_postgresql(made: Cluster) -> None:
    postgresql_lab.make_database(made, made.nodes[0])


def postgresql_ended(node: Node) -> bool:
    return "shut down\n" in node.run([f"{postgresql_lab.PROGRAMS}/pg_controldata", DIRECTORY]).stdout


def begin_postgresql(node: Node) -> None:
    postgresql_lab.select(node, "create table numbers (number int primary key)")


def make_mariadb(made: Cluster) -> None:
    for node in made.nodes:
        made.write(node, "/etc/web.cnf", MARIADB)
        node.run(["chown", "mysql:", DIRECTORY])
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={DIRECTORY}", "--user=mysql", "--skip-test-db"]
    made.nodes[0].run([*install, "--innodb-log-file-size=8M"], timeout_s=60.0)


def mariadb(node: Node, query: str) -> str:
    return node.run(["mariadb", "--no-defaults", "-BN", f"--socket={SOCKET}", "-e", query], check=False).stdout


def begin_mariadb(node: Node) -> None:
    mariadb(node, "CREATE USER client; GRANT ALL ON *.* TO client; CREATE DATABASE lab")
    mariadb(node, "CREATE TABLE lab.numbers (number INT PRIMARY KEY)")


def make_redis(made: Cluster) -> None:
    for node in made.nodes:
        made.write(node, "/etc/web.conf", REDIS)
        node.run(["chown", "redis:", DIRECTORY])


def make_samba(made: Cluster) -> None:
    for node in made.nodes:
        made.write(node, "/etc/web.conf", SAMBA)
    made.nodes[0].run(["mkdir", "-p", f"{DIRECTORY}/files", f"{DIRECTORY}/private"])


BOX = f"""\
services:
  web:
    image: localhost/box
    command: [/bin/httpd, -f, -h, /www]
    network_mode: host
    depends_on: {{prepare: {{condition: service_completed_successfully}}}}
    volumes: ["{DIRECTORY}:/data"]
    healthcheck: {{test: /bin/wget -q -O /dev/null http://127.0.0.1/}}
    stop_signal: KILL
    pids_limit: -1
    ulimits: {{nofile: 1024, nproc: 1024}}
  prepare:
    image: localhost/box
    command: touch /data/numbers
    network_mode: host
    volumes: ["{DIRECTORY}:/data"]
    pids_limit: -1
    ulimits: {{nofile: 1024, nproc: 1024}}
"""
"""The lab's cgroups count no processes; the first process of a container hears no SIGTERM unless it asked for it."""
BOX_ADD = """\
#!/bin/sh
echo "$QUERY_STRING" | dd of=/data/numbers oflag=append conv=notrunc,fsync 2>/dev/null || exit 1
printf 'Content-Type: text/plain\\n\\n%s\\n' "$QUERY_STRING"
"""
PODMAN = "podman --root=/var/lib/box --storage-driver=vfs --runtime=/usr/sbin/runc --cgroup-manager=cgroupfs"


def make_podman(made: Cluster) -> None:
    """An image of busybox alone on each node: nothing is fetched."""
    for node in made.nodes:
        made.write(node, "/etc/web.yaml", BOX)
        made.write(node, "/opt/box/www/index.html", "box\n")
        made.write(node, "/opt/box/www/cgi-bin/add", BOX_ADD, mode="0755")
        node.run(["mkdir", "/opt/box/bin"])
        node.run(["cp", "/bin/busybox", "/opt/box/bin/busybox"])
        for name in ("sh", "httpd", "wget", "touch", "dd"):
            node.run(["ln", "-s", "busybox", f"/opt/box/bin/{name}"])
        node.run(["tar", "-C", "/opt/box", "-cf", "/opt/box.tar", "."])
        node.run([*PODMAN.split(), "import", "/opt/box.tar", "localhost/box"], timeout_s=60.0)


def lines(node: Node, *argv: str) -> set[int]:
    return set(map(int, node.run(argv).stdout.split()))


PAGE = ["curl", "-s", "-m", "2", f"http://{VIP}/"]
PUT = f"smbclient -N -s /dev/null //{VIP}/data -c 'put /etc/hostname NUMBER' >/dev/null 2>&1 && echo told"
INSERT = ["mariadb", "--no-defaults", "--skip-ssl", "--connect-timeout=1", "-h", VIP, "-u", "client", "-e"]
PSQL = ["psql", f"host={VIP} user=postgres connect_timeout=1", "-qtAc"]
NODES = ("node1", "node2")
FARM = ("--kind", "farm", "--port", "80")
APPLICATIONS = {
    "apache": Application(("apache",), PAGE, NODES, ("-x", "apache2"), lab_cluster.home_pages),
    "apache-farm": Application(("apache", *FARM), PAGE, NODES, ("-x", "apache2"), lab_cluster.home_pages),
    "nginx": Application(("nginx",), PAGE, NODES, ("-x", "nginx"), lab_cluster.home_pages),
    "haproxy": Application(
        ("haproxy", "--set", "config=/etc/web.cfg"),
        PAGE,
        NODES,
        ("-x", "haproxy"),
        lab_cluster.home_pages,
        serve_behind,
    ),
    "farm": Application(
        ("farm", *FARM, "--set", f"command={SERVE} 80 --directory /var/www/html"),
        PAGE,
        NODES,
        ("-f", "http.server 80 "),
        lab_cluster.home_pages,
    ),
    "postgresql": Application(
        ("postgresql", "--set", f"data={DIRECTORY}"),
        [*PSQL, "insert into numbers values (NUMBER) returning number"],
        ("NUMBER",),
        ("-o", "-x", "postgres"),
        make_postgresql,
        begin=begin_postgresql,
        numbers=lambda node: postgresql_lab.select(node, "select number from numbers"),
        ended=postgresql_ended,
    ),
    "mariadb": Application(
        ("mariadb", "--set", "config=/etc/web.cnf"),
        [*INSERT, "INSERT INTO lab.numbers VALUES (NUMBER)"],
        ("",),
        ("-f", "mariadbd.*web[.]cnf"),
        make_mariadb,
        begin=begin_mariadb,
        numbers=lambda node: set(map(int, mariadb(node, "SELECT number FROM lab.numbers").split())),
    ),
    "redis": Application(
        ("redis", "--set", "config=/etc/web.conf"),
        ["redis-cli", "-e", "-h", VIP, "SET", "NUMBER", "1"],
        ("OK",),
        ("-f", "redis-server"),
        make_redis,
        numbers=lambda node: lines(node, "redis-cli", "-s", SOCKET, "KEYS", "*"),
    ),
    "samba": Application(
        ("samba", "--set", "config=/etc/web.conf", "--set", "share=data"),
        ["sh", "-c", PUT],
        ("told",),
        ("-f", "smbd -F"),
        make_samba,
        numbers=lambda node: lines(node, "ls", f"{DIRECTORY}/files"),
    ),
    "mirror": Application(
        ("mirror", "--set", f"directories={DIRECTORY}", "--set", f"command={sys.executable} {ledger.FILE}"),
        [sys.executable, "-c", TELL],
        ("NUMBER",),
        ("-f", ledger.FILE),
        numbers=lambda node: lines(node, sys.executable, "-c", COUNT),
    ),
    "podman": Application(
        ("podman", "--set", "compose=/etc/web.yaml", "--set", f"engine={PODMAN}"),
        ["curl", "-s", "-m", "2", f"http://{VIP}/cgi-bin/add?NUMBER"],
        ("NUMBER",),
        ("-f", "httpd -f"),
        make_podman,
        numbers=lambda node: lines(node, "cat", f"{DIRECTORY}/numbers"),
    ),
}


def prepare(made: Cluster, app: Application, disks: Disks) -> None:
    """The machines, before safekit has anything to do with it."""
    for node in made.nodes:
        disks.mount(made, node)
    app.make(made)
    for node in made.nodes:
        app.mount(made, node)


def add(made: Cluster, app: Application) -> None:
    """What a user types, until all is well."""
    first, second = made.nodes
    made.safekit(first, "module", "add", "web", "--vip", f"{VIP}/24", "--app", *app.options)
    if app.numbers is None:
        made.safekit(first, "module", "start", "web", "--all")
    else:
        lab_cluster.change_file(made, first, lambda text: f"{text}isolation: availability\n")
        made.safekit(first, "module", "prim", "web", "--force")
        made.safekit(second, "module", "start", "web")
        made.roles()
        app.begin(first)
    await_well(made, app)


def await_well(made: Cluster, app: Application) -> tuple[Node, Node]:
    """A mirror's primary and secondary, as soon as the second has everything; of a farm both nodes."""
    if app.is_farm:
        made.wait(made.shares_are_complete, "every bucket is served", 60.0)
        return made.nodes[0], made.nodes[1]
    primary, secondary = made.roles()
    if app.numbers is not None:
        made.wait(lambda: postgresql_lab.is_paired(primary), "the secondary has everything", 90.0)
    return primary, secondary


def boot(made: Cluster, app: Application, disks: Disks, node: Node) -> None:
    """After its crash, until all is well."""
    node.boot()
    disks.mount(made, node)
    app.mount(made, node)
    made.safekit(node, "daemon", "start")
    await_well(made, app)


class Client:
    """It asks all the time, and keeps what it was told."""

    def __init__(self, made: Cluster, app: Application) -> None:
        self._made, self._app = made, app
        self._machine = made.lab.client()
        program = CLIENT.format(right=RIGHT, wrong=WRONG, asks=app.asks, answers=app.answers)
        made.write(self._machine, "/opt/client.py", program)
        self._asking = self._machine.start([sys.executable, "/opt/client.py"])

    def goes_on(self, node: Node) -> None:
        """From now on it gets right answers, of this node where they say whose they are."""
        known = len(self._right())
        own = repr(node.name) if self._app.numbers is None else ""
        self._made.wait(
            lambda: sum(answer.endswith(own) for answer in self._right()[known:]) >= ENOUGH,
            f"the client of {node.name} goes on",
            60.0,
        )

    def end(self) -> None:
        self._asking.kill()
        self._asking.wait(10.0)

    def acknowledged(self) -> set[int]:
        return {int(answer.partition(" ")[0]) for answer in self._right()}

    def wrong(self) -> list[str]:
        return self._machine.run(["cat", WRONG]).stdout.splitlines()

    def _right(self) -> list[str]:
        return self._machine.run(["cat", RIGHT], check=False).stdout.splitlines()


def kill_processes(node: Node, *words: str) -> None:
    """SIGKILL to those that `pgrep` finds; one that ends by itself as another dies is no error."""
    node.run(["kill", "-9", *node.run(["pgrep", *words]).stdout.split()], check=False)
