"""`safekit rehearse MODULE --lab`: a copy of the cluster in namespaces of this machine, and the same drills in it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from safekit_rehearse import blueprint
from safekit_rehearse.cluster import SERVING
from safekit_rehearse.namespaces import SAFEKIT, WORLD, Namespaces, cards, environment, mounts
from safekit_rehearse.report import store
from safekit_sdk import ConfigError, PeerError, RefusedError

READY_S: Final = 150.0
LAST_S: Final = 60.0
"""For the drill that is under way when somebody ends the rehearsal, to be undone and reported."""
WITNESS: Final = str(Path(SAFEKIT).parent / "safekit-witness")
REPORTS: Final = "/run/rehearsal"
"""Of a node, in memory that it has for itself."""
MAX_REPORT_BYTES: Final = 8 << 20
_CUT: Final = re.compile(r"CUT THE POWER of (\S+) now")
_GIVE_BACK: Final = "GIVE ITS POWER BACK"
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Say = Callable[[str], None]


class EndedError(RefusedError):
    """Somebody ended it."""


def rehearse_copy(etc: Path, module: str, words: Sequence[str], out: Path, disk: str, say: Say) -> int:
    """The exit status of the rehearsal. Nothing of the lab is left when it returns, or when this process is killed."""
    plan = blueprint.read(etc, module, cards(), mounts())
    if hindrances := plan.hindrances():
        raise RefusedError(
            f"'{module}' cannot be rehearsed in a lab: {'; '.join(hindrances)}",
            hint="without --lab it is rehearsed on the real cluster",
        )
    say(f"a copy of module '{module}' of {plan.cluster.name}; the real cluster is not touched:")
    for note in plan.notes():
        say(f"  {note}")
    for number in _ENDING:
        signal.signal(number, _end)
    try:
        with Namespaces.up(plan, disk) as lab:
            return _rehearse(lab, words, out, say)
    finally:
        say("the lab is gone")


def _end(number: int, frame: FrameType | None) -> None:
    """Once: what is taken down is not to be disturbed."""
    del frame
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise EndedError(f"ended by {signal.Signals(number).name}: nothing is left of the lab")


def _rehearse(lab: Namespaces, words: Sequence[str], out: Path, say: Say) -> int:
    say("making the cluster")
    lab.furnish()
    if lab.plan.token_file:
        _witness(lab)
    _form(lab)
    say("starting the module")
    watcher = _start(lab)
    machine = lab.machine(watcher)
    lab.run(machine, "mkdir", "-p", REPORTS)
    options = ("--yes", "--out", REPORTS, "--in-lab", os.uname().nodename)
    argv = lab.argv(machine, (SAFEKIT, "rehearse", "run", lab.plan.module, *words, *options))
    code = _drill(lab, watcher, argv, say)
    for path in lab.run(machine, "find", REPORTS, "-type", "f").split():
        store(out / Path(path).name, lab.run(machine, "head", "-c", str(MAX_REPORT_BYTES), path))
        say(str(out / Path(path).name))
    return code


def _drill(lab: Namespaces, watcher: str, argv: Sequence[str], say: Say) -> int:
    """The command's own lines. What it asks of a person is done here."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd="/",
        start_new_session=True,
    )
    dark = ""
    with process:
        try:
            for line in process.stdout or ():
                if not line.startswith(REPORTS):
                    say(line.rstrip("\n"))
                if cut := _CUT.search(line):
                    dark = cut[1]
                    lab.crash(dark)
                elif _GIVE_BACK in line:
                    lab.wait(lambda: _is_served(_states(lab, watcher)), "another node serves", READY_S)
                    lab.boot(dark)
                    lab.safekit(dark, "daemon", "start")
            return process.wait(LAST_S)
        except EndedError:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=LAST_S)
            say(said)
            return process.returncode
        except subprocess.TimeoutExpired:
            raise PeerError("the drill does not end", hint="the lab is taken down with it") from None
        finally:
            process.kill()


def _witness(lab: Namespaces) -> None:
    """On the machine that plays the others; with a token of its own."""
    if not Path(WITNESS).exists():
        raise ConfigError("safekit-witness is not installed on this machine", hint="pip install safekit-witness")
    lab.run(WORLD, "rm", "-rf", "/var/lib/safekit-witness")
    lab.run(WORLD, WITNESS, "init", "--address", str(lab.plan.world(lab.plan.cluster.networks[0].name).ip))
    token = lab.run(WORLD, WITNESS, "admit", lab.plan.cluster.name)
    lab.background(WORLD, WITNESS, "run")
    for number, _ in enumerate(lab.plan.cluster.nodes, 1):
        put = 'umask 077; mkdir -p "$(dirname "$1")"; rm -f "$1"; cat >"$1"'
        lab.run(f"node{number}", "sh", "-ec", put, "sh", lab.plan.token_file, stdin=token.encode())


def _form(lab: Namespaces) -> None:
    """As an operator would, by the same commands."""
    plan = lab.plan.cluster
    first = plan.nodes[0]
    named = {node.name: [f"{network}={one}" for network, one in node.addresses.items()] for node in plan.nodes}
    addresses = {name: [word for one in found for word in ("--address", one)] for name, found in named.items()}
    port = str(plan.networks[0].port)
    lab.safekit(
        first.name, "cluster", "init", "--name", plan.name, "--node", first.name, "--port", port, *addresses[first.name]
    )
    lab.safekit(first.name, "daemon", "start")
    for node in plan.nodes[1:]:
        token = lab.safekit(first.name, "cluster", "token")
        lab.safekit(node.name, "cluster", "join", "-", "--node", node.name, *addresses[node.name], stdin=token)
        lab.safekit(node.name, "daemon", "start")
    lab.wait(lambda: _hear_each_other(lab), "the nodes hear each other")


def _statuses(lab: Namespaces, asked: str = "") -> dict[str, Any]:
    """By node, as that one is told; the first one when none is named."""
    node = asked or lab.plan.cluster.nodes[0].name
    return dict(json.loads(lab.safekit(node, "status", "-o", "json", check=False) or "{}"))


def _hear_each_other(lab: Namespaces) -> bool:
    answers = _statuses(lab)
    results = [answer.get("result") for answer in answers.values()]
    return len(results) == len(lab.plan.cluster.nodes) and all(
        result and all(peer["alive"] for peer in result["peers"]) for result in results
    )


def _start(lab: Namespaces) -> str:
    """The node from which it is watched: one that does not serve, where there is one."""
    module, names = lab.plan.module, [node.name for node in lab.plan.cluster.nodes]
    lab.safekit(names[0], "apply", module)
    if lab.plan.has_data:
        lab.safekit(names[0], "module", "prim", module, "--force")
        for name in names[1:]:
            lab.safekit(name, "module", "start", module, "--no-wait")
    else:
        lab.safekit(names[0], "module", "start", module, "--all", "--no-wait")
    try:
        lab.wait(lambda: _is_ready(_states(lab)), f"'{module}' is ready on every node", READY_S)
    except PeerError as error:
        log = lab.safekit(names[0], "log", module, "-n", "30", check=False)
        raise PeerError(
            f"{error}\n{log}", hint="an application that cannot run in a namespace does not start here"
        ) from None
    states = _states(lab)
    return next((name for name, state in states.items() if state.partition("/")[0] not in SERVING), names[0])


def _states(lab: Namespaces, asked: str = "") -> dict[str, str]:
    """STATE/Readiness by node, of those that have the module."""
    return {
        node: f"{module['state']}/{module['readiness']}"
        for node, answer in _statuses(lab, asked).items()
        for module in (answer.get("result") or {}).get("modules", ())
        if module["name"] == lab.plan.module
    }


def _is_served(states: dict[str, str]) -> bool:
    return any(state in {f"{one}/Ready" for one in SERVING} for state in states.values())


def _is_ready(states: dict[str, str]) -> bool:
    return bool(states) and all(
        state.endswith("/Ready") and not state.startswith(("STOP", "WAIT")) for state in states.values()
    )
