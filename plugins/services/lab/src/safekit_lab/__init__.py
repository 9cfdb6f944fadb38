"""Nodes on one machine, as Linux namespaces: a cluster to try, kill, freeze and cut off."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .error import CommandError, LabError
    from .lab import Lab
    from .layout import Bind
    from .messages import NodeStatus
    from .node import Node
    from .probe.record import Record
    from .probe.run import Probe, Result
    from .probe.summary import Outage, Summary
    from .process import Process

__all__ = [
    "Bind",
    "CommandError",
    "Lab",
    "LabError",
    "Node",
    "NodeStatus",
    "Outage",
    "Probe",
    "Process",
    "Record",
    "Result",
    "Summary",
]

_HOMES = {
    "Bind": "layout",
    "CommandError": "error",
    "Lab": "lab",
    "LabError": "error",
    "Node": "node",
    "NodeStatus": "messages",
    "Outage": "probe.summary",
    "Probe": "probe.run",
    "Process": "process",
    "Record": "probe.record",
    "Result": "probe.run",
    "Summary": "probe.summary",
}


def __getattr__(name: str) -> object:
    """Import on first use: `safekit lab exec` and the probe start without pydantic."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
