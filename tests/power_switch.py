"""A power switch for the nodes of a lab, and the fence agent that asks it.

The switch is a socket in a directory that every node sees, so it is reached as in a network of its own: nothing that a
test cuts between the nodes leads there.
"""

from __future__ import annotations

import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from safekit_lab import Bind, Lab
from safekit_lab.node import Node

AGENT_FILE = "/opt/fence_lab"
_SEEN = Path("/run/power")
"""Where the nodes see the directory of the socket."""
ACTIONS = ("off", "status", "monitor", "metadata")
AGENT = f"""\
#!{sys.executable} -IS
import socket, sys
told = dict(line.split("=", 1) for line in sys.stdin.read(4096).splitlines() if "=" in line)
action = told.get("action", "")
if action == "metadata":
    print('<resource-agent><parameters><parameter name="plug"/></parameters><actions>')
    print("".join(f'<action name="{{each}}"/>' for each in {ACTIONS!r}) + "</actions></resource-agent>")
    sys.exit(0)
with socket.socket(socket.AF_UNIX) as device:
    device.settimeout(5.0)
    device.connect("{_SEEN}/socket")
    device.sendall(f"{{action}} {{told.get('plug', '')}}\\n".encode())
    answer = device.makefile().readline(64).strip()
print(answer, file=sys.stderr)
sys.exit({{"done": 0, "on": 0, "off": 2}}.get(answer, 1))
"""
STEP = (
    f"fence: {{agent: {AGENT_FILE}, nodes: {{node1: {{plug: node1}}, node2: {{plug: node2}}}}, "
    "off_timeout: 6s, status_timeout: 2s, retries: 0}"
)
"""For the pipeline of a module of two nodes."""


@dataclass(frozen=True, slots=True)
class Asked:
    at_s: float
    """On the clock that the recorder writes too."""
    action: str
    node: str
    answer: str


@dataclass
class PowerSwitch:
    place: Path
    refuses: bool = False
    """Say no to `off` and `monitor`."""
    calls: list[Asked] = field(default_factory=list)
    lab: Lab | None = None
    """Whose nodes hang on it."""

    @property
    def bind(self) -> Bind:
        return Bind(source=self.place, target=_SEEN)

    def calls_for(self, action: str) -> list[Asked]:
        return [call for call in self.calls if call.action == action]

    def answer(self, action: str, name: str) -> str:
        answer = self._answer(action, name)
        self.calls.append(Asked(time.monotonic(), action, name, answer))
        return answer

    def _answer(self, action: str, name: str) -> str:
        node = next((node for node in self.lab.nodes if node.name == name), None) if self.lab else None
        if node is None or action not in ACTIONS:
            return "unknown"
        if action == "status":
            return "off" if node.state == "crashed" else "on"
        if self.refuses:
            return "refused"
        if action == "off" and node.state != "crashed":
            node.crash()
        return "done"


@contextmanager
def power_switch() -> Iterator[PowerSwitch]:
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        switch = PowerSwitch(Path(folder))

        class Plug(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(5.0)
                words = self.rfile.readline(256).decode("ascii", "replace").split()
                answer = switch.answer(*words) if len(words) == 2 else "unknown"
                self.wfile.write(f"{answer}\n".encode())

        with socketserver.ThreadingUnixStreamServer(str(switch.place / "socket"), Plug) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
            thread.start()
            try:
                yield switch
            finally:
                server.shutdown()
                thread.join(10.0)


def connect(switch: PowerSwitch, lab: Lab) -> None:
    """Let its plugs be the nodes of this lab, and give them the agent."""
    switch.lab = lab
    for node in lab.nodes:
        _install(node)


def _install(node: Node) -> None:
    node.run(["tee", AGENT_FILE], stdin=AGENT)
    node.run(["chmod", "755", AGENT_FILE])
