"""Applications with data on the lab: how each is made and added, how its client writes, and what is there then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import lab_cluster
import ledger
import postgresql_lab
from lab_cluster import VIP, Cluster
from ledger import DIRECTORY
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
CLIENT = """\
import subprocess, sys
number = 0
with open({acknowledged!r}, "a", 1) as acknowledged:
    while True:
        number += 1
        try:
            asked = [word.replace("NUMBER", str(number)) for word in {argv!r}]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=2)
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0 and done.stdout.strip() == {answer!r}.replace("NUMBER", str(number)):
            print(number, file=acknowledged)
"""
TELL = f"""\
import socket
with socket.create_connection(("{VIP}", {PORT}), timeout=1) as service:
    service.sendall(b"NUMBER\\n")
    print(service.recv(64).decode().strip())
"""


PAGES = {"apache": "apache2", "nginx": "nginx", "haproxy": "haproxy"}
"""Applications without data, and the name of their processes; a page of each says which node it is."""
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


def add_pages(made: Cluster, name: str) -> None:
    """What a user types, until one is primary and one secondary."""
    lab_cluster.home_pages(made)
    first = made.nodes[0]
    options = ["--set", "config=/etc/web.cfg"] if name == "haproxy" else []
    for node in made.nodes:
        serve_behind(made, node)
    made.safekit(first, "module", "add", "web", "--app", name, "--kind", "mirror", "--vip", f"{VIP}/24", *options)
    made.safekit(first, "module", "start", "web", "--all")
    made.roles()


def serve_behind(made: Cluster, node: Node) -> None:
    """What the balancer of a node has behind it; after each boot."""
    made.write(node, "/etc/web.cfg", BALANCED)
    node.start([sys.executable, "-m", "http.server", "8080", "--directory", "/var/www/html"])


@dataclass(frozen=True)
class Kind:
    """One application: how it is made and added, how a client writes, and what is there."""

    options: tuple[str, ...]
    """After `module add web --app`."""
    writes: list[str]
    answer: str
    process: str
    """What its server is found by: the regular expression of `pgrep -f`."""
    make: Callable[[Cluster], None] = lambda _: None
    """On the nodes, before it is added."""
    begin: Callable[[Node], None] = lambda _: None
    """On the primary, once it runs."""
    numbers: Callable[[Node], set[int]] | None = None


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


def redis_numbers(node: Node) -> set[int]:
    return set(map(int, node.run(["redis-cli", "-s", SOCKET, "KEYS", "*"]).stdout.split()))


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


PUT = f"smbclient -N -s /dev/null //{VIP}/data -c 'put /etc/hostname NUMBER' && echo told"
INSERT = ["mariadb", "--no-defaults", "--skip-ssl", "--connect-timeout=1", "-h", VIP, "-u", "client", "-e"]
KINDS = {
    "mariadb": Kind(
        ("mariadb", "--set", "config=/etc/web.cnf"),
        [*INSERT, "INSERT INTO lab.numbers VALUES (NUMBER)"],
        "",
        "mariadbd.*web[.]cnf",
        make_mariadb,
        begin_mariadb,
        lambda node: set(map(int, mariadb(node, "SELECT number FROM lab.numbers").split())),
    ),
    "redis": Kind(
        ("redis", "--set", "config=/etc/web.conf"),
        ["redis-cli", "-h", VIP, "SET", "NUMBER", "1"],
        "OK",
        "redis-server",
        make_redis,
        numbers=redis_numbers,
    ),
    "samba": Kind(
        ("samba", "--set", "config=/etc/web.conf", "--set", "share=data"),
        ["sh", "-c", f"({PUT}) 2>/dev/null | tail -n 1"],
        "told",
        "smbd -F",
        make_samba,
        numbers=lambda node: set(map(int, node.run(["ls", f"{DIRECTORY}/files"]).stdout.split())),
    ),
    "mirror": Kind(
        ("mirror", "--set", f"directories={DIRECTORY}", "--set", f"command={sys.executable} {ledger.FILE}"),
        [sys.executable, "-c", TELL],
        "NUMBER",
        ledger.FILE,
    ),
    "podman": Kind(
        ("podman", "--set", "compose=/etc/web.yaml", "--set", f"engine={PODMAN}"),
        ["curl", "-s", "-m", "2", f"http://{VIP}/cgi-bin/add?NUMBER"],
        "NUMBER",
        "httpd -f",
        make_podman,
        numbers=lambda node: set(map(int, node.run(["cat", f"{DIRECTORY}/numbers"]).stdout.split())),
    ),
}


def add(made: Cluster, kind: Kind) -> None:
    """What a user types, until the other node has everything."""
    first, second = made.nodes
    made.safekit(first, "module", "add", "web", "--vip", f"{VIP}/24", "--app", *kind.options)
    lab_cluster.change_file(made, first, lambda text: f"{text}isolation: availability\n")
    made.safekit(first, "module", "prim", "web", "--force")
    made.safekit(second, "module", "start", "web")
    made.roles()
    kind.begin(first)
    made.wait(lambda: postgresql_lab.is_paired(first), "the secondary has everything", 90.0)


def kill_processes(node: Node, *words: str) -> None:
    """SIGKILL to those that `pgrep` finds; one that ends by itself as another dies is no error."""
    node.run(["kill", "-9", *node.run(["pgrep", *words]).stdout.split()], check=False)


def kill(made: Cluster, kind: Kind) -> None:
    """Every process of it at once, until it runs again, here or there."""
    primary, _secondary = made.roles()
    before = made.looped(primary)
    kill_processes(primary, "-f", kind.process)
    made.wait(lambda: made.looped(primary) > before, "its death is seen")
    made.roles()  # a service of the generic mirror goes over to the other node
