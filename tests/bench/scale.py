"""Many modules on each of two nodes, with ten checkers each: what they cost, and whether heartbeats still come evenly.

`make bench` runs it with 100 modules and writes build/bench/scale.json. It ends with an exit code other than 0 when a
module did not come up, was restarted, or a node was taken for lost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lab_cluster
from figures import Figure, write
from lab_cluster import Cluster

from safekit_lab.node import Node

MODULES = 100
CHECKERS = 10
SECONDS = 60.0
FIRST_PORT = 20_000
LISTEN = """import selectors, socket, sys
ready = selectors.DefaultSelector()
for port in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):
    ready.register(socket.create_server(("127.0.0.1", port), backlog=512), selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
"""
GAPS = """import json, sys
from pathlib import Path
from safekit.daemon.past import arrivals
heard = [at_s for at_s, _, _ in arrivals(Path("/var/lib/safekit/history.db"), int(sys.argv[1]))]
since_s = heard[-1] - float(sys.argv[2])
recent = [at_s for at_s in heard if at_s >= since_s]
print(json.dumps([b - a for a, b in zip(recent, recent[1:])]))
"""
TICKS = 100.0
"""Of a processor's second in /proc (USER_HZ)."""


@dataclass(frozen=True, slots=True)
class Load:
    """Of some processes at one moment."""

    at_s: float
    cpu_s: float
    own_kb: int
    """Proportional set size: what would be free without them."""
    processes: int

    def share_since(self, before: Load) -> float:
        """Percent of one processor."""
        return 100 * (self.cpu_s - before.cpu_s) / (self.at_s - before.at_s)


def module_file(checkers: int) -> str:
    lines = ["kind: light", "pipeline:", "  - service: {command: [/bin/sleep, infinity]}", "checkers:"]
    lines += [f"  - tcp: {{name: p{n}, host: 127.0.0.1, port: {FIRST_PORT + n}}}" for n in range(checkers)]
    return "\n".join(lines) + "\n"


def look(node: Node, what: str) -> Load:
    """The node's processes of which the command line contains this."""
    found = node.run(["pgrep", "-f", what], check=False).stdout.split()
    stats = node.run(["cat", *(f"/proc/{pid}/stat" for pid in found)], check=False).stdout.splitlines()
    rollups = node.run(["cat", *(f"/proc/{pid}/smaps_rollup" for pid in found)], check=False).stdout.splitlines()
    ticks = [sum(map(int, line.rpartition(")")[2].split()[11:13])) for line in stats]
    sizes = [int(line.split()[1]) for line in rollups if line.startswith("Pss:")]
    return Load(time.monotonic(), sum(ticks) / TICKS, sum(sizes), len(ticks))


def gaps_ms(made: Cluster, node: Node, seconds: float) -> list[float]:
    """Between heartbeats of the other node, as they came in the last so many seconds."""
    incarnation = made.statuses(node)[node.name]["result"]["incarnation"]
    script = [sys.executable, "-c", GAPS, str(incarnation), str(seconds)]
    return [1000 * gap_s for gap_s in json.loads(node.run(script, timeout_s=60.0).stdout)]


def add(made: Cluster, modules: int, checkers: int) -> list[float]:
    """How long each `safekit apply` took, in seconds."""
    first, took = made.nodes[0], []
    for number in range(modules):
        name = f"m{number:03}"
        made.write(first, f"/etc/safekit/modules/{name}/module.yaml", module_file(checkers))
        begun_s = time.monotonic()
        made.safekit(first, "apply", name)
        took.append(time.monotonic() - begun_s)
    return took


def states(made: Cluster) -> list[str]:
    """Of every module on every node."""
    answers = made.statuses(made.nodes[0]).values()
    found = [module for answer in answers for module in (answer.get("result") or {}).get("modules", ())]
    return [f"{module['state']}/{module['readiness']}" for module in found]


def start(made: Cluster, modules: int) -> float:
    """Seconds from the first command until all modules run on all nodes."""
    begun_s = time.monotonic()
    for number in range(modules):
        made.safekit(made.nodes[0], "module", "start", f"m{number:03}", "--all", "--no-wait")
    wanted = len(made.nodes) * modules
    made.wait(lambda: states(made).count("UP/Ready") == wanted, "all modules run", 600.0)
    return time.monotonic() - begun_s


def measure(modules: int, checkers: int, seconds: float) -> tuple[list[Figure], bool]:
    with lab_cluster.cluster(2, clients=0) as made:
        for node in made.nodes:
            node.start([sys.executable, "-c", LISTEN, str(FIRST_PORT), str(checkers)])
        time.sleep(min(seconds, 20.0))
        idle = gaps_ms(made, made.nodes[1], min(seconds, 20.0))
        applied = add(made, modules, checkers)
        started_s = start(made, modules)
        first = made.nodes[0]
        before = look(first, "safekit.host"), look(first, "safekit.daemon")
        time.sleep(seconds)
        hosts, daemon = look(first, "safekit.host"), look(first, "safekit.daemon")
        busy = gaps_ms(made, made.nodes[1], seconds)
        well = states(made).count("UP/Ready") == len(made.nodes) * modules and quiet(made)
    figures = [
        Figure("scale.modules", modules, "", 1),
        Figure("scale.checkers", modules * checkers, "", 1),
        Figure("scale.apply", round(statistics.median(applied), 2), "s", len(applied)),
        Figure("scale.start_all", round(started_s, 1), "s", 1),
        Figure("scale.hosts_cpu", round(hosts.share_since(before[0]), 1), "%", 1),
        Figure("scale.daemon_cpu", round(daemon.share_since(before[1]), 1), "%", 1),
        Figure("scale.hosts_memory", round(hosts.own_kb / 1024), "MB", hosts.processes),
        Figure("scale.daemon_memory", round(daemon.own_kb / 1024), "MB", daemon.processes),
        *beats("idle", idle),
        *beats("busy", busy),
    ]
    return figures, well


def beats(when: str, gaps: Sequence[float]) -> list[Figure]:
    """How far apart heartbeats came; 100 ms are asked for."""
    ordered = sorted(gaps)
    p99 = ordered[int(0.99 * (len(ordered) - 1))]
    return [
        Figure(f"scale.heartbeat_{when}.p99", round(p99, 1), "ms", len(gaps)),
        Figure(f"scale.heartbeat_{when}.max", round(ordered[-1], 1), "ms", len(gaps)),
    ]


def quiet(made: Cluster) -> bool:
    """No node was taken for lost, and no module restarted by itself."""
    told = [json.loads(made.safekit(node, "log", "-n", "5000", "-o", "json").stdout) for node in made.nodes]
    return not [entry for entries in told for entry in entries if entry["type"] in {"peer-lost", "loop", "host-lost"}]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", type=int, default=MODULES)
    parser.add_argument("--checkers", type=int, default=CHECKERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    found, well = measure(asked.modules, asked.checkers, asked.seconds)
    path: Path = write("scale", found)
    for figure in found:
        print(f"{figure.name}: {figure.value:g} {figure.unit}")
    print(f"written to {path}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
