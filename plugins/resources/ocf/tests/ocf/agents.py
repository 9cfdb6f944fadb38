"""An agent of the tests' own, which starts a daemon that holds its output, and errs as a test has it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safekit_sdk.procfs import process_stat

SCRIPT = r"""#!/bin/sh
state="$OCF_RESKEY_state"
[ -f "$state/mode.$1" ] && . "$state/mode.$1"
runs() {
  [ -f "$state/pid" ] && { read -r stat <"/proc/$(cat "$state/pid")/stat"; } 2>/dev/null || return 1
  case "$stat" in *") Z "*) return 1 ;; esac
}
case "$1" in
meta-data) cat <<END
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="daemon" version="1.0"><version>1.1</version>
<longdesc lang="en">A daemon &amp; its state.</longdesc><shortdesc lang="en">A daemon</shortdesc>
<parameters>
<parameter name="state" required="1">
<longdesc lang="en">Where it is.</longdesc><shortdesc lang="en">A directory</shortdesc>
<content type="string"/></parameter>
<parameter name="port"><shortdesc lang="en">A number</shortdesc><content type="integer" default="80"/></parameter>
<parameter name="eager"><shortdesc lang="en">A truth</shortdesc><content type="boolean" default="false"/></parameter>
<parameter name="word"><shortdesc lang="en">A secret</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="20s"/><action name="stop" timeout="20"/><action name="promote" timeout="10s"/>
<action name="demote" timeout="10s"/><action name="notify" timeout="10s"/>
<action name="monitor" timeout="5s" interval="2s" depth="0"/>
<action name="monitor" timeout="7s" interval="30s" depth="10"/>
<action name="monitor" timeout="6s" interval="1s" role="Promoted" depth="0"/><action name="meta-data" timeout="5s"/>
</actions></resource-agent>
END
;;
start) runs && exit 0
  setsid sleep 1000 & echo $! >"$state/pid" ;;
stop) runs && { kill "$(cat "$state/pid")"; while runs; do sleep 0.01; done; }
  rm -f "$state/pid" "$state/promoted" ;;
monitor) runs || exit 7
  [ -f "$state/promoted" ] && exit 8; exit 0 ;;
promote) runs || exit 7; touch "$state/promoted" ;;
demote) runs || exit 7; rm -f "$state/promoted" ;;
notify) env | grep notify_ | sort >>"$state/notify" ;;
*) exit 3 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class DaemonAgent:
    """`test:daemon`, below a root of its own."""

    root: Path
    state: Path

    @property
    def path(self) -> Path:
        return self.root / "resource.d/test/daemon"

    @property
    def settings(self) -> dict[str, Any]:
        return {"agent": "test:daemon", "root": str(self.root), "parameters": {"state": str(self.state)}}

    def mode(self, **snippets: str) -> None:
        """What the shell does first in these actions, from now on; in all others nothing."""
        for path in self.state.glob("mode.*"):
            path.unlink()
        for action, snippet in snippets.items():
            (self.state / f"mode.{action.replace('_', '-')}").write_text(snippet)

    @property
    def pid(self) -> int | None:
        path = self.state / "pid"
        return int(path.read_text()) if path.exists() and path.read_text().strip() else None

    async def was_asked(self) -> None:
        """Wait until a snippet has made the file `asked`."""
        for _ in range(1000):
            if (self.state / "asked").exists():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the agent was not called")

    def traces(self) -> list[str]:
        pid = self.pid
        alive = pid is not None and runs(pid)
        promoted = (self.state / "promoted").exists()
        return [f"process {pid}"] * alive + ["promoted"] * promoted


def runs(pid: int) -> bool:
    stat = process_stat(pid)
    return stat is not None and stat.alive


def open_files(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(path.readlink()))
    return found


def make_daemon_agent(place: Path) -> DaemonAgent:
    agent = DaemonAgent(place / "ocf", place / "daemon")
    agent.path.parent.mkdir(parents=True)
    agent.state.mkdir()
    agent.path.write_text(SCRIPT)
    agent.path.chmod(0o755)
    return agent
