"""The engine: pure. Events and a time in; a state and actions out. No socket, clock, thread, file or randomness."""

from safekit.engine.durable import Durable
from safekit.engine.node import NodeState, durable, leases, new_node, next_deadline, reports, restore, rights, step
from safekit.engine.right import Limits
from safekit.engine.view import awaited, echoes, heard, peers, view

__all__ = [
    "Durable",
    "Limits",
    "NodeState",
    "awaited",
    "durable",
    "echoes",
    "heard",
    "leases",
    "new_node",
    "next_deadline",
    "peers",
    "reports",
    "restore",
    "rights",
    "step",
    "view",
]
