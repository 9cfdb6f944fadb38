"""A farm of three Apaches beside one server alone, HAProxy, and HAProxy behind an address of keepalived.

`make bench` runs it and writes build/bench/farm.json. All contenders take turns on one lab: the same servers, the same
client (wrk), several rounds. Everything shares the processors of one machine, so ratios mean more than numbers.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import capped
import farm_clients
import figures
import lab_cluster
from figures import Figure
from lab_cluster import VIP, Cluster

from safekit_lab import Lab
from safekit_lab.node import Node

MODES = ("directed", "invisible", "multicast")
CONTENDERS = ("direct", *MODES, "haproxy", "haproxy + keepalived")
LOADS = ("keep_alive", "new_connections")
CONNECTIONS = 32
PER_SECOND = 400
CAPPED_PORT, BALANCER_VIP = 8100, "10.77.0.101"
CLIENTS = [f"10.77.0.{number}" for number in range(110, 170)]
TRANSACTIONS = 60
HAPROXY = """global
  maxconn 4096
defaults
  mode tcp
  timeout connect 2s
  timeout client 30s
  timeout server 30s
"""
KEEPALIVED = f"""global_defs {{
  router_id balancer
}}
vrrp_instance front {{
  state MASTER
  interface eth0
  virtual_router_id 77
  priority 100
  advert_int 1
  virtual_ipaddress {{ {BALANCER_VIP}/24 }}
}}
"""
TIMED = """import time
from ipaddress import ip_address
from safekit_resource_nft_lb import NftLbConfig, place, ruleset
from safekit_resource_nft_lb.nft import Nft
from safekit_resource_nft_lb.site import Site
from safekit_sdk import Share
config = NftLbConfig(addresses=("10.77.0.199",), mode={mode!r})
site = Site("bench", "node1", config, place.find(config))
nft = Nft()
nft.run(ruleset.foundation(site))
owners = [tuple("node1" if bucket % 2 == turn else "node2" for bucket in range(256)) for turn in (0, 1)]
places = {{"node2": "02:00:00:00:00:01"}}
held = [frozenset(bucket for bucket in range(256) if of[bucket] == "node1") for of in owners]
shares = [Share(held[turn], owners=owners[turn], places=places) for turn in (0, 1)]
for number in range({count}):
    time.sleep(0.1)
    begun = time.perf_counter()
    nft.run(ruleset.change(site, shares[number % 2]))
    print((time.perf_counter() - begun) * 1000)
nft.run(ruleset.removal("bench"))
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk says of one run."""

    per_second: float
    p50_ms: float
    p99_ms: float


@contextmanager
def lab() -> Iterator[Cluster]:
    """node1 to node3 are the farm, node4 is a machine for HAProxy, which a farm does not need."""
    with Lab.up(nodes=4, clients=1) as made:
        cluster = Cluster(made)
        cluster.form()
        lab_cluster.add_apache_farm(cluster, "--vip", f"{VIP}/24", change=three)
        yield cluster


def three(text: str) -> str:
    return text.replace("kind: farm\n", "kind: farm\nnodes: [node1, node2, node3]\nmax_loops: 1000\n")


def serve_by_haproxy(made: Cluster) -> None:
    balancer, servers = made.nodes[3], made.nodes[:3]
    lines = [HAPROXY, "listen web\n  bind *:80"]
    lines += [f"  server {node.name} {node.address()}:80" for node in servers]
    for count in (1, 2, 3):
        lines.append(f"listen capped{count}\n  bind *:{CAPPED_PORT + count}")
        lines += [f"  server {node.name} {node.address()}:{CAPPED_PORT}" for node in servers[:count]]
    made.write(balancer, "/etc/haproxy/haproxy.cfg", "\n".join(lines) + "\n")
    balancer.run(["haproxy", "-D", "-f", "/etc/haproxy/haproxy.cfg"])
    made.write(balancer, "/etc/keepalived/keepalived.conf", KEEPALIVED)
    balancer.run(["keepalived", "-f", "/etc/keepalived/keepalived.conf"])
    made.wait(lambda: BALANCER_VIP in balancer.run(["ip", "address"]).stdout, "keepalived has its address")


def address(made: Cluster, contender: str) -> str:
    return {
        "direct": made.nodes[0].address(),
        "haproxy": made.nodes[3].address(),
        "haproxy + keepalived": BALANCER_VIP,
    }.get(contender, VIP)


def use(made: Cluster, mode: str) -> None:
    """Change the farm's mode as an operator does."""

    def change(text: str) -> str:
        text = re.sub(r"\n *mode: \w+", "", text)
        return text.replace("  - nft-lb:\n", f"  - nft-lb:\n      mode: {mode}\n")

    lab_cluster.change_file(made, made.nodes[0], change)
    settled(made)
    time.sleep(1.0)


def settled(made: Cluster) -> None:
    made.wait(made.shares_are_complete, "every bucket is served")


def wrk(made: Cluster, url: str, seconds: float, *, closing: bool, connections: int = CONNECTIONS) -> Load:
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "5s"]
    said = made.lab.client().run([*words, *(["-H", "Connection: close"] if closing else []), url]).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise lab_cluster.FailedError(f"wrk: {said}")
    return Load(float(found[1]), _latency(said, "50"), _latency(said, "99"))


def _latency(said: str, percent: str) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", said)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]] if found else float("inf")


def throughput(made: Cluster, rounds: int, seconds: float) -> list[Figure]:
    measured: dict[tuple[str, str], list[Load]] = defaultdict(list)
    for _ in range(rounds):
        for contender in CONTENDERS:
            if contender in MODES:
                use(made, contender)
            for load in LOADS:
                url = f"http://{address(made, contender)}/"
                run = wrk(made, url, seconds, closing=load == "new_connections")
                measured[contender, load].append(run)
                print(f"{contender}: {load}: {run.per_second:.0f}/s, p99 {run.p99_ms:.2f} ms", flush=True)
    found = []
    for load in LOADS:
        for name, unit in (("per_second", "1/s"), ("p50_ms", "ms"), ("p99_ms", "ms")):
            of = {c: [float(getattr(run, name)) for run in measured[c, load]] for c in CONTENDERS}
            middle = {c: round(figures.statistic("median", values), 2) for c, values in of.items()}
            peers = {c: value for c, value in middle.items() if c != "directed"}
            found.append(Figure(f"{load}.{name}", middle["directed"], unit, rounds, peers))
    return found


def scaling(made: Cluster, seconds: float) -> list[Figure]:
    """One, two and three servers of which each answers PER_SECOND requests a second."""
    use(made, "directed")
    for node in made.nodes[:3]:
        text = Path(capped.__file__).read_text(encoding="utf-8")
        node.start([sys.executable, "-c", text, str(CAPPED_PORT), str(PER_SECOND)])
    time.sleep(1.0)
    found = []
    for count in (1, 2, 3):
        for index, node in enumerate(made.nodes[:3]):
            made.safekit(made.nodes[0], "farm", "weight", node.name, "100" if index < count else "0")
        settled(made)
        own = wrk(made, f"http://{VIP}:{CAPPED_PORT}/", seconds, closing=True, connections=96)
        other = wrk(
            made, f"http://{made.nodes[3].address()}:{CAPPED_PORT + count}/", seconds, closing=True, connections=96
        )
        print(f"{count} servers: farm {own.per_second:.0f}/s, haproxy {other.per_second:.0f}/s", flush=True)
        found.append(Figure(f"capped.{count}", own.per_second, "1/s", 1, {"haproxy": other.per_second}))
    for node in made.nodes[:3]:
        made.safekit(made.nodes[0], "farm", "undrain", node.name)
    settled(made)
    return found


def session(text: str) -> str:
    """The port of the capped servers is shared by connection."""
    rule = f"{{port: {CAPPED_PORT}, hash: client_session}}"
    return text.replace("rules: [{", f"rules: [{rule}, {{")


def take_over(made: Cluster, runs: int) -> list[Figure]:
    """Of each client of a crashed server, the time from the crash to its next good answer."""
    for client in CLIENTS:
        made.lab.client().run(["ip", "address", "add", f"{client}/24", "dev", "eth0"], check=False)
    found = []
    for mode in ("directed", "invisible"):
        use(made, mode)
        waits: list[float] = []
        failed = 0
        for _ in range(runs):
            one, others = crash(made)
            waits += one
            failed += others
        print(
            f"{mode}: taken over after {sorted(round(wait) for wait in waits)} ms; others failed: {failed}", flush=True
        )
        found += figures.figures(f"take_over_{mode}", waits, {})
        found.append(Figure(f"take_over_{mode}.failed_requests_of_others", failed, "", runs))
    return found


def crash(made: Cluster) -> tuple[list[float], int]:
    """Crash a server that does not direct: the waits of its clients, and how many requests of others failed."""
    director = made.farm(made.nodes[0])["director"]
    gone = next(node for node in made.nodes[:3] if node.name not in {director, "node1"})
    asking = made.lab.client().start(farm_clients.program(f"http://{VIP}/", 0.02, CLIENTS[:30]))
    time.sleep(1.5)
    at_s = time.monotonic()
    gone.crash()
    time.sleep(3.5)
    asking.kill()
    asking.wait(10.0)
    asked = farm_clients.records(Path(asking.stdout).read_text().splitlines())
    revive(made, gone)
    last = {request.client: request.server for request in asked if request.start_s < at_s and request.server}
    bereft = {client for client, server in last.items() if server == gone.name}
    waits = [first_answer_s(asked, client, at_s) * 1000 for client in bereft]
    return waits, sum(bool(request.error) for request in asked if request.client not in bereft)


def first_answer_s(asked: Sequence[farm_clients.Asked], client: str, at_s: float) -> float:
    good = (r.end_s for r in asked if r.client == client and r.server and r.end_s > at_s + 0.05)
    return min(good, default=float("inf")) - at_s


def revive(made: Cluster, node: Node) -> None:
    node.boot()
    made.safekit(node, "daemon", "start")
    settled(made)


def transactions(made: Cluster) -> list[Figure]:
    found = []
    for mode in ("directed", "invisible"):
        program = TIMED.format(mode=mode, count=TRANSACTIONS)
        said = made.nodes[0].run([sys.executable, "-c", program]).stdout
        found += figures.figures(f"transaction_{mode}", [float(line) for line in said.split()], {})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of all contenders (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load (default 4)")
    parser.add_argument("--crashes", type=int, default=5, help="for the time of a take-over (default 5)")
    asked = parser.parse_args()
    with lab() as made:
        lab_cluster.change_file(made, made.nodes[0], session)
        serve_by_haproxy(made)
        found = throughput(made, asked.rounds, asked.seconds)
        found += scaling(made, asked.seconds)
        found += transactions(made)
    with lab() as made:  # sticky: each client has one server, and knows when it is gone
        lab_cluster.change_file(made, made.nodes[0], lambda text: text.replace("client_session", "client_address"))
        found += take_over(made, asked.crashes)
    path = figures.write("farm", found)
    print(f"\n{figures.table(found)}\n\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
