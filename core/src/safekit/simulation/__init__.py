"""Seeded histories of whole clusters that run the shipped engine, with everything going wrong that can.

The clock, the networks, the disks and the hosts are simulated; the decisions are those of `safekit.engine`."""

from safekit.simulation.drawing import draw
from safekit.simulation.history import Outcome, play, run_history
from safekit.simulation.scenario import Scenario

__all__ = ["Outcome", "Scenario", "draw", "play", "run_history"]
