"""A safekit cluster on the lab, driven by the commands that an operator types: for demo, system tests and benches."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safekit_lab import Bind, Lab
from safekit_lab.node import Node
from safekit_lab.process import Process

SAFEKIT = str(Path(sys.prefix) / "bin" / "safekit")
WITNESS = str(Path(sys.prefix) / "bin" / "safekit-witness")
VIP = "10.77.0.100"
Done = subprocess.CompletedProcess[str]
Event = Callable[[], None]


class FailedError(AssertionError):
    """A command did not do what was asked."""


class Cluster:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nodes = lab.nodes

    def safekit(self, node: Node, *words: str, ok: bool = True, timeout_s: float = 120.0, stdin: str = "") -> Done:
        """Type a safekit command on a node."""
        done = node.run([SAFEKIT, *words], check=False, timeout_s=timeout_s, stdin=stdin)
        if ok and done.returncode != 0:
            said = f"exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise FailedError(f"{node.name}: safekit {' '.join(words)}: {said}")
        return done

    def form(self) -> None:
        """Make the cluster on the first node and let the others join by token."""
        networks = range(self.lab.spec.networks)
        first = self.nodes[0]
        self.safekit(first, "cluster", "init", "--node", first.name, *_addresses(first, networks))
        self.safekit(first, "daemon", "start")
        for node in self.nodes[1:]:
            token = self.safekit(first, "cluster", "token").stdout
            words = ("cluster", "join", "-", "--node", node.name, *_addresses(node, networks))
            self.safekit(node, *words, stdin=token)
            self.safekit(node, "daemon", "start")
        self.wait(self.all_hear_each_other, "the nodes hear each other")

    def all_hear_each_other(self) -> bool:
        statuses = self.statuses(self.nodes[0])
        if len(statuses) != len(self.nodes) or any("error" in answer for answer in statuses.values()):
            return False
        return all(peer["alive"] for answer in statuses.values() for peer in answer["result"]["peers"])

    def statuses(self, node: Node) -> dict[str, Any]:
        done = self.safekit(node, "status", "-o", "json", ok=False)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def module_state(self, node: Node, module: str) -> str:
        """`STATE/readiness` as the node itself says, or empty."""
        return _state(self.statuses(node).get(node.name, {}), module)

    def primary(self, module: str = "web") -> Node | None:
        """The node that runs it, PRIM or ALONE and Ready."""
        return self._in_state(module, "PRIM/Ready", "ALONE/Ready")

    def secondary(self, module: str = "web") -> Node | None:
        return self._in_state(module, "SECOND/Ready")

    def is_well(self, module: str = "web") -> bool:
        """One node is primary, one secondary."""
        found = sorted(filter(None, self.states(module).values()))  # empty where a node has no part in it
        return found in (["ALONE/Ready", "SECOND/Ready"], ["PRIM/Ready", "SECOND/Ready"])

    def farm(self, node: Node, module: str = "web") -> dict[str, Any]:
        """The farm as this node knows it."""
        return dict(_module(self.statuses(node).get(node.name, {}), module).get("farm") or {})

    def shares_are_complete(self) -> bool:
        """Every node that runs and has the module serves what one map gives it; together they serve all."""
        running = [node.name for node in self.nodes if node.state == "running"]
        answers = self.statuses(self.lab.node(running[0]))
        modules = {name: _module(answer, "web") for name, answer in answers.items()}
        expected: list[str] = next((module["nodes"] for module in modules.values() if module), [])
        farms: dict[str, dict[str, Any]] = {
            name: modules.get(name, {}).get("farm") or {} for name in running if name in expected
        }
        if not farms or not all(farms.values()):
            return False
        held = sum(farm["held"] for farm in farms.values())
        return held == 256 and all(farm["held"] == farm["owners"].count(name) for name, farm in farms.items())

    def _in_state(self, module: str, *states: str) -> Node | None:
        found = self.states(module)
        return next((node for node in self.nodes if found.get(node.name) in states), None)

    def states(self, module: str = "web") -> dict[str, str]:
        """`STATE/readiness` of each node that answers, as the first that runs was told."""
        for node in self.nodes:
            if node.state == "running" and (answers := self.statuses(node)):
                return {name: _state(answer, module) for name, answer in answers.items()}
        return {}

    def wait_state(self, node: Node, module: str, *states: str, timeout_s: float = 60.0) -> None:
        self.wait(lambda: self.module_state(node, module) in states, f"{module} on {node.name} is {states}", timeout_s)

    def wait(self, there: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not there():
            if time.monotonic() > deadline_s:
                raise FailedError(f"not within {timeout_s:g} s: {what}\n{self.evidence()}")
            time.sleep(0.2)  # each look is a process of its own

    # what happens to the module `web`; each returns when the module is well again

    def follow_crash(self, primary: Node, survivor: Node) -> None:
        primary.crash()
        self.wait_state(survivor, "web", "ALONE/Ready")

    def roles(self, module: str = "web") -> tuple[Node, Node]:
        """The primary and the secondary, as soon as there are both."""
        self.wait(lambda: self.is_well(module), "one is primary, one secondary", 90.0)
        primary, secondary = self.primary(module), self.secondary(module)
        assert primary is not None
        assert secondary is not None
        return primary, secondary

    def restore(self, module: str = "web") -> None:
        """Every node runs and hears all, and all is well."""
        for node in self.nodes:
            if node.state == "crashed":
                self.boot(node)
            node.heal()
        self.roles(module)

    def boot(self, node: Node) -> None:
        node.boot()
        self.safekit(node, "daemon", "start")

    def swap(self, to: Node) -> None:
        self.safekit(to, "module", "swap", "web")
        self.wait_state(to, "web", "PRIM/Ready")

    def kill_apache(self, node: Node) -> None:
        """Every process of Apache at once, as the kernel does when memory is short."""
        before = self.looped(node)
        self.kill_processes(node, "apache2")
        self.wait(lambda: self.looped(node) > before, f"{node.name} sees that Apache is dead")
        self.wait_state(node, "web", "PRIM/Ready", "ALONE/Ready")

    @staticmethod
    def kill_processes(node: Node, program: str) -> None:
        """SIGKILL to each of the node's processes of that name, by its pid."""
        node.run(["kill", "-9", *node.run(["pgrep", "-x", program]).stdout.split()])

    def looped(self, node: Node) -> int:
        """How many restarts in place the node counts for `web`."""
        result = self.statuses(node).get(node.name, {}).get("result") or {}
        return max((found["loops"] for found in result.get("modules", ()) if found["name"] == "web"), default=0)

    def write(self, node: Node, path: str, content: str, mode: str = "0644") -> None:
        node.run(["mkdir", "-p", str(Path(path).parent)])
        node.run(["tee", path], stdin=content)
        node.run(["chmod", mode, path])

    def evidence(self) -> str:
        """What an operator would look at, for the message of a failed test."""
        found = []
        for node in self.nodes:
            try:
                for words in (["status", "--steps"], ["log", "-n", "30"]):
                    found.append(self.safekit(node, *words, ok=False, timeout_s=20.0).stdout)
                log = node.run(["tail", "-n", "15", "/var/log/safekit/safekitd.log"], check=False)
                found.append(f"{node.name} safekitd.log:\n{log.stdout}{log.stderr}")
            except Exception as error:
                found.append(f"{node.name}: {error}")
        return "\n".join(found)


class Witness:
    """safekit-witness on a third machine of the lab."""

    TOKEN = "/etc/safekit/witness.token"

    def __init__(self, made: Cluster, machine: Node) -> None:
        self.machine = machine
        self._made = made
        self._serving: Process | None = None

    def set_up(self) -> None:
        """Serve, and let every node have the token."""
        self.machine.run([WITNESS, "init", "--address", self.machine.address()])
        token = self.machine.run([WITNESS, "admit", "lab"]).stdout
        self.serve()
        for node in self._made.nodes:
            self._made.write(node, self.TOKEN, token, mode="0600")

    def serve(self) -> None:
        self._serving = self.machine.start([WITNESS, "run"])
        self._made.wait(lambda: self._show().returncode == 0, "the witness serves")

    @property
    def serves(self) -> bool:
        return self._serving is not None and self._serving.returncode is None

    def kill(self) -> None:
        assert self._serving is not None
        self._serving.kill(signal.SIGKILL)
        self._serving.wait(10.0)

    def shows(self, node: Node) -> bool:
        """Whether it names the node."""
        return node.name in self._show().stdout

    def _show(self) -> Done:
        return self.machine.run([WITNESS, "show"], check=False)


def _module(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """A module as one node's status has it, or nothing."""
    modules = (answer.get("result") or {}).get("modules", ())
    return next((dict(found) for found in modules if found["name"] == name), {})


def _state(answer: dict[str, Any], module: str) -> str:
    found = _module(answer, module)
    return f"{found['state']}/{found['readiness']}" if found else ""


def _addresses(node: Node, networks: range) -> list[str]:
    if len(networks) == 1:
        return ["--address", node.address()]
    return [word for k in networks for word in ("--address", f"net{k}={node.address(k)}")]


@contextmanager
def cluster(
    nodes: int = 2, *, clients: int = 1, networks: int = 1, formed: bool = True, binds: Sequence[Bind] = ()
) -> Iterator[Cluster]:
    with Lab.up(nodes=nodes, clients=clients, networks=networks, binds=binds) as lab:
        made = Cluster(lab)
        if formed:
            made.form()
        yield made


def home_pages(made: Cluster) -> None:
    """Every node's Apache says which node it is."""
    for node in made.nodes:
        made.write(node, "/var/www/html/index.html", f"{node.name}\n")


def add_mirror(made: Cluster, text: str, name: str = "web") -> None:
    """A module by its file, on all nodes, until it is well."""
    first = made.nodes[0]
    made.write(first, f"/etc/safekit/modules/{name}/module.yaml", text)
    made.safekit(first, "apply", name)
    made.safekit(first, "module", "start", name, "--all")
    made.wait(lambda: made.is_well(name), "one is primary, one secondary", 60.0)


def add_replicated_mirror(made: Cluster, text: str, name: str = "web") -> None:
    """Likewise; the first node's data are the ones to begin with."""
    first, second = made.nodes
    made.write(first, f"/etc/safekit/modules/{name}/module.yaml", text)
    made.safekit(first, "apply", name)
    made.safekit(first, "module", "prim", name, "--force")
    made.safekit(second, "module", "start", name)
    made.wait(lambda: made.is_well(name), "one is primary, one secondary", 60.0)


def add_apache_mirror(made: Cluster, name: str = "web", *, change: Callable[[str], str] | None = None) -> None:
    """What a user types for a highly available Apache; `change` edits the module file before it is started."""
    home_pages(made)
    first = made.nodes[0]
    made.safekit(first, "module", "add", name, "--app", "apache", "--kind", "mirror", "--vip", f"{VIP}/24")
    if change is not None:
        change_file(made, first, change, name)
    made.safekit(first, "module", "start", name, "--all")
    made.wait(lambda: made.is_well(name), f"{name} runs", 60.0)


def add_apache_farm(made: Cluster, *options: str, change: Callable[[str], str] | None = None) -> None:
    """What a user types for an Apache on every node that share one address."""
    home_pages(made)
    first = made.nodes[0]
    asked = ("--app", "apache", "--kind", "farm", "--port", "80", *(options or ("--vip", f"{VIP}/24")))
    made.safekit(first, "module", "add", "web", *asked)
    if change is not None:
        change_file(made, first, change)
    made.safekit(first, "module", "start", "web", "--all")
    made.wait(made.shares_are_complete, "every bucket is served", 60.0)


def change_file(made: Cluster, node: Node, change: Callable[[str], str], name: str = "web") -> None:
    path = f"/etc/safekit/modules/{name}/module.yaml"
    made.write(node, path, change(node.run(["cat", path]).stdout))
    made.safekit(node, "apply", name)


def tuned(text: str) -> str:
    """The heartbeat of a module file for a quick network and machines that are never starved."""
    return (
        re.sub(r"^heartbeat:.*\n", "", text, flags=re.MULTILINE) + "\nheartbeat: {interval: 20ms, lost_after: 250ms}\n"
    )
