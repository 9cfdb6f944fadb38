"""Two nodes and a witness, in one address space; the test plays the networks."""

from __future__ import annotations

from dataclasses import dataclass, field

from safekit.engine.actions import AskWitness, WitnessCall
from safekit.engine.events import WitnessAnswered
from safekit.engine.reports import Heartbeat
from safekit.engine.spec import ModuleSpec, WitnessSpec

from .kit import MODULE, NODES, spec
from .pair import Pair

LEASE_S = 10.0
WITNESS = WitnessSpec("splitbrain.lease", LEASE_S, timeout_s=1.0)


@dataclass
class Third:
    """A witness whose clock is right."""

    holder: str = ""
    epoch: int = 0
    until_s: float = 0.0
    cut: set[str] = field(default_factory=set)

    def answer(self, node: str, asked: AskWitness, now_s: float) -> WitnessAnswered:
        if node in self.cut:
            return WitnessAnswered(MODULE, asked.number, reached=False, text="no route to it")
        behind = asked.after is not None and self.holder != node and self.epoch > asked.after
        if asked.call is WitnessCall.ACQUIRE and not behind and (self.holder in {"", node} or now_s >= self.until_s):
            self.holder, self.epoch = node, max(asked.epoch, self.epoch + 1)
            return self._give(asked, now_s)
        if (self.holder, self.epoch) == (node, asked.epoch):
            if asked.call is WitnessCall.RENEW:
                return self._give(asked, now_s)
            if asked.call is WitnessCall.RELEASE:
                self.until_s = now_s
        verb = "has" if now_s < self.until_s else "had"
        text = f"{self.holder or 'nobody'} {verb} the lease"
        return WitnessAnswered(MODULE, asked.number, reached=True, text=text)

    def _give(self, asked: AskWitness, now_s: float) -> WitnessAnswered:
        self.until_s = now_s + LEASE_S
        return WitnessAnswered(MODULE, asked.number, True, True, self.epoch, LEASE_S)


class Three(Pair):
    """Two nodes and a witness. What both ran at one time is an error at once."""

    def __init__(self, module: ModuleSpec | None = None) -> None:
        self.third = Third()
        self.asked = dict.fromkeys(NODES, 0)
        self.parted: set[str] = set()
        self.off: set[str] = set()
        super().__init__(module or spec(witness=WITNESS))

    def host(self, name: str) -> None:
        if name in self.off:
            return
        super().host(name)
        bench = self.benches[name]
        calls = [action for action in bench.all if isinstance(action, AskWitness) and action.number > self.asked[name]]
        for call in calls:
            self.asked[name] = call.number
            bench.tell(self.third.answer(name, call, bench.now_s))
        if calls:
            super().host(name)
        self.check()

    def deliver(self, beat: Heartbeat, *, to: str) -> None:
        if not self.parted and not self.off:
            super().deliver(beat, to=to)
            self.check()

    def check(self) -> None:
        running = {name for name in self.active() if name not in self.off}
        assert len(running) < 2, "both run"
