"""Nodes on one machine, as Linux namespaces: a cluster to try, kill, freeze and cut off."""

from .error import CommandError, LabError
from .lab import Lab
from .layout import Bind
from .messages import NodeStatus
from .node import Node
from .process import Process

__all__ = ["Bind", "CommandError", "Lab", "LabError", "Node", "NodeStatus", "Process"]
