"""Where a module is, as this node knows without asking: its own state, and those of the last heartbeats."""

from __future__ import annotations

from typing import Any

from safekit import engine
from safekit.engine.reports import ModuleReport


def module_states(node: engine.NodeState, module: str, now_s: float) -> dict[str, dict[str, Any]]:
    """By node of the cluster, in the form of safekit_sdk.elsewhere.ModuleSeen."""
    seen = {node.name: _seen(dict(engine.reports(node)).get(module))}
    for peer in engine.peers(node, now_s):
        seen[peer.node] = _seen(peer.modules.get(module)) if peer.alive else {"heard": False}
    return seen


def _seen(report: ModuleReport | None) -> dict[str, Any]:
    if report is None:
        return {}
    said = {"state": str(report.state), "readiness": str(report.readiness), "reason": report.reason[:4096]}
    return {**said, "epoch": report.epoch}
