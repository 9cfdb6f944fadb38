"""The operation behind `safekit rules`: a module's rules, and what they look at here and now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from safekit.daemon.operations import ModuleArgs, Operations, Power
from safekit.engine import trial
from safekit_sdk import ConfigError

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon


class RuleOperations:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def register(self, operations: Operations) -> None:
        operations.add("rules", ModuleArgs, self.rules, peers=True, needs=Power.LOOK)

    async def rules(self, args: ModuleArgs) -> dict[str, Any]:
        now_s = time.monotonic()
        installed = self._daemon.configuration.modules.get(args.module)
        found = trial.present(self._daemon.runtime.node, args.module, now_s)
        if installed is None or found is None:
            names = ", ".join(sorted(self._daemon.configuration.modules)) or "none"
            node = self._daemon.configuration.node
            raise ConfigError(f"there is no module '{args.module}' on {node}", hint=f"there are: {names}")
        return {
            "node": self._daemon.configuration.node,
            "module": installed.compiled.model_dump(mode="json"),
            "state": str(found.state),
            "readiness": str(found.readiness),
            "values": {
                name: {"value": value.value, "reason": value.reason, "since_s": round(now_s - value.since_s, 3)}
                for name, value in found.values.items()
            },
            "remote": found.remote,
            "held_s": {label: round(held_s, 3) for label, held_s in found.held_s.items()},
            "swap_obstacle": found.swap_obstacle,
            "loops": found.loops,
        }
