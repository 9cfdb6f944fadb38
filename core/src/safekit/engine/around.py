"""What a module sees of the other nodes, and of its own, in one turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from safekit.engine.reports import ModuleReport, ModuleState


@dataclass(frozen=True, slots=True)
class PeerView:
    """The other node of a mirror, as this one knows it now."""

    node: str = ""
    alive: bool = False
    absent: bool = True
    """We have listened long enough to say that it is not there."""
    deaf: bool = False
    """We hear it, and it says that it does not hear us."""
    deaf_s: float = math.inf
    """Since when it has said so."""
    report: ModuleReport | None = None
    silent_s: float = 0.0
    acquainted: bool = True
    """It has heard of us since it was heard again."""
    echo_s: float = -math.inf
    """When this node sent the last heartbeat that the peer is known to have heard."""
    promised_s: float = -math.inf
    """Since when this node has promised it nothing."""

    @property
    def state(self) -> ModuleState | None:
        return self.report.state if self.report and self.alive else None

    @property
    def active(self) -> bool:
        return self.report is not None and self.alive and self.report.active

    @property
    def runs(self) -> bool:
        """It is primary and means to be; else something of it may run that it is about to end."""
        return self.active and self.state in {ModuleState.ALONE, ModuleState.PRIM}

    @property
    def claims(self) -> bool:
        return self.report is not None and bool(self.report.claim)


@dataclass(frozen=True, slots=True)
class Surroundings:
    node: str
    incarnation: int
    peer: PeerView
    storage_trouble: str
    lost_after_s: float
    lapse_s: float
    """The longest that what this node was last allowed to do may go on by itself."""
    awake: bool = True
    """False for a while after this node slept: what it hears may be old."""
    others: dict[str, PeerView] = field(default_factory=dict)
    """The other nodes of a farm."""
