"""One rehearsal: looks first, does one drill after the other, watches as a client, goes on only when all is well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from safekit_rehearse.cluster import Cluster, Node, Promises
from safekit_rehearse.drills import ALWAYS_REFUSED, Drill, length_s, refusals
from safekit_rehearse.harm import LONGEST_S
from safekit_rehearse.probe import INTERVAL_S, Probe, Seen, Target
from safekit_rehearse.report import Line, Outcome, Report, Signed, clock
from safekit_sdk import ConfigError, PeerError, RefusedError, SafekitError

CALM_S: Final = 1.0
"""So long nothing may fail before a drill begins, and after it."""
WELL_S: Final = 90.0
"""For the module to be well again after a drill, beyond what is promised."""
LOOK_S: Final = 0.3
PERSON_S: Final = 900.0
"""For a person to cut the power of a node, and for the node to be back with it."""
LINES: Final = 40


@dataclass(frozen=True, slots=True)
class Asked:
    module: str
    drills: tuple[Drill, ...]
    target: Target
    seconds: float | None = None
    accepted: frozenset[str] = frozenset()
    path: str = ""
    fill_bytes: int = 0
    lab: str = ""
    """The machine that plays a copy of the cluster."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before anything is done."""

    about: Mapping[str, Any]
    """The module, as status has it."""
    here: str
    version: str
    cluster: str
    nodes: tuple[str, ...]
    addresses: Mapping[str, tuple[str, ...]]
    promises: Promises
    findings: tuple[dict[str, Any], ...]


Say = Callable[[str], None]


class Rehearsal:
    def __init__(self, cluster: Cluster, asked: Asked, say: Say) -> None:
        self._cluster = cluster
        self._asked = asked
        self._say = say
        self._harmed = ""
        self._may_cut = ""
        self._outcomes: list[Outcome] = []
        self._begun = time.time()

    async def look(self) -> Outlook:
        """RefusedError when this cluster is not to be drilled now, with every reason."""
        asked = self._asked
        about, ping = await self._cluster.description(asked.module), await self._cluster.ask("ping")
        outlook = Outlook(
            about=about,
            here=str(ping["node"]),
            version=str(ping["version"]),
            cluster=str(ping["cluster"]),
            nodes=tuple(ping["addresses"]),
            addresses={node: tuple(one) for node, one in ping["addresses"].items()},
            promises=await self._cluster.promises(asked.module),
            findings=tuple(await self._cluster.findings(asked.module)),
        )
        reasons = [
            f"{one['name']}: {one['what']}"
            for one in outlook.findings
            if (one["severity"] == "alarm" or one["name"] in ALWAYS_REFUSED) and one["name"] not in asked.accepted
        ]
        for drill in asked.drills:
            reasons += [f"{drill.name}: {why}" for why in refusals(drill, about, outlook.promises)]
        if reasons:
            raise RefusedError(
                "this cluster is not to be drilled so now: " + "; ".join(reasons),
                hint="`safekit doctor` says what mends it; --accept NAME takes a finding into account",
            )
        return outlook

    async def run(self, outlook: Outlook, may_cut: str = "") -> Report:
        """Every drill, or as far as it came. What was harmed is undone when it returns, whatever ends it. `may_cut`: of
        this node the power may be cut."""
        aborted, self._may_cut = "", may_cut
        try:
            async with Probe(self._asked.target).running() as probe:
                for drill in self._asked.drills:
                    self._outcomes.append(await self._drill(drill, outlook, probe))
                    if not self._outcomes[-1].well or self._outcomes[-1].trouble:
                        aborted = f"after {drill.name} it was not well again"
                        break
        except asyncio.CancelledError:
            aborted = "the operator ended it"
        except (SafekitError, TimeoutError) as error:
            aborted = str(error)
        finally:
            await self._undo()
        return self._report(outlook, aborted)

    async def _undo(self) -> None:
        """At once where the node hears us. Its guard undoes it at its time in any case."""
        if self._harmed:
            late = f"not heard: its own guard undoes the drill, within {LONGEST_S:g} s"
            self._say(f"{self._harmed}: {'undone' if await self._cluster.undo(self._harmed) else late}")

    async def _drill(self, drill: Drill, outlook: Outlook, probe: Probe) -> Outcome:
        before = await self._calm(probe)
        victim = self._victim(drill, outlook, before)
        if drill.cuts and victim != self._may_cut:
            raise RefusedError(f"the power of {victim} would be cut", hint=f"agreed to: {self._may_cut or 'no node'}")
        order = self._order(drill, outlook, victim)
        await self._cluster.agent(victim, {"do": "check", "order": order})
        self._say(f"{drill.name}: {drill.says} ({victim})")
        begun, begun_s = time.time(), time.monotonic()
        trouble, told = "", {"done": "asked safekitd to swap", "undone": begun}
        try:
            if drill.asks:
                told = await self._asked_for_power(victim)
            elif drill.cuts:
                told = await self._fenced(victim, order, begun, tuple(set(outlook.nodes) - {victim}))
            elif drill.kind == "none":
                args = {"module": self._asked.module, "command": "swap"}
                await self._cluster.ask("command", args)
            else:
                told = await self._armed(victim, order)
            trouble = str(told.get("trouble", ""))
            after = await self._well(probe, drill.promise(outlook.promises) or 0.0, before, drill)
        except (SafekitError, TimeoutError) as error:
            trouble, after = str(error), await self._cluster.states(self._asked.module)
        seen = probe.seen(begun_s)
        outcome = await self._outcome(drill, victim, (begun, told, trouble), (before, after), seen, outlook)
        self._say(f"{drill.name}: not served for {seen.interruption_ms} ms, {'well' if outcome.well else 'NOT WELL'}")
        return outcome

    async def _armed(self, victim: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of a drill by the node's own guard."""
        earlier = await self._cluster.agent(victim, {"do": "outcome"})
        self._harmed = victim
        with contextlib.suppress(PeerError, TimeoutError):  # the harm may end what carries the answer
            await self._cluster.agent(victim, {"do": "arm", "order": order})
        told = await self._told(victim, float(order["seconds"]), earlier)
        self._harmed = ""
        return told

    async def _fenced(
        self, victim: str, order: Mapping[str, Any], begun: float, others: tuple[str, ...]
    ) -> dict[str, Any]:
        """What is told of a node that hangs until another one has its power cut. Its guard ends with it; where it is
        not cut, that undoes the drill at its time."""
        self._harmed = victim
        with contextlib.suppress(PeerError, TimeoutError):
            await self._cluster.agent(victim, {"do": "arm", "order": order})
        until_s = time.monotonic() + float(order["seconds"])
        while not (said := await self._fence_word(victim, begun, others)):
            if time.monotonic() > until_s:
                raise PeerError(f"no node says that {victim} is fenced", hint="`safekit log` says why not")
            await asyncio.sleep(LOOK_S)
        self._say(f"{said}: {victim} is without power")
        told = await self._given_back(victim)
        self._harmed = ""
        return {**told, "done": f"its power was cut: {said}; {told['done']}"}

    async def _fence_word(self, victim: str, begun: float, others: tuple[str, ...]) -> str:
        """Of the node that had its power cut."""
        words = (line for line in await self._decided(begun, others) if line.text.startswith(f"{victim} is fenced"))
        return next((f"{line.node}: {line.text}" for line in words), "")

    async def _asked_for_power(self, victim: str) -> dict[str, Any]:
        """What is told of a drill that a person does."""
        self._say(f"CUT THE POWER of {victim} now: by its management board, its plug. Waiting for its silence")
        return await self._given_back(victim)

    async def _given_back(self, victim: str) -> dict[str, Any]:
        off = await self._until(victim, heard=False)
        self._say(f"{victim} is silent. GIVE ITS POWER BACK when {self._asked.target.url} is served; waiting for it")
        on = await self._until(victim, heard=True)
        return {"done": f"silent from {clock(off)} until {clock(on)}", "undone": on}

    async def _until(self, node: str, *, heard: bool) -> float:
        until_s = time.monotonic() + PERSON_S
        while time.monotonic() < until_s:
            if await self._cluster.is_heard(node) is heard:
                return time.time()
            await asyncio.sleep(LOOK_S)
        raise PeerError(f"{node} is {'silent' if heard else 'heard'} still, after {PERSON_S:g} s")

    async def _calm(self, probe: Probe) -> dict[str, Node]:
        """A drill begins only when the service is served and every node is well."""
        until_s = time.monotonic() + WELL_S
        while time.monotonic() < until_s:
            states = await self._cluster.states(self._asked.module)
            if all(one.is_well for one in states.values() if one.state) and probe.is_served(CALM_S):
                return states
            await asyncio.sleep(LOOK_S)
        lately = probe.seen(time.monotonic() - 5.0)
        said = ", ".join(f"{node} {state}" for node, state in states.items())
        raise PeerError(
            f"the service is not well enough for a drill: {said}; {lately.failed} of {lately.requests} requests failed",
            hint=f"is {self._asked.target.url} the address at which clients are served?",
        )

    def _victim(self, drill: Drill, outlook: Outlook, states: Mapping[str, Node]) -> str:
        serving = [node for node, state in states.items() if state.serves]
        elsewhere = [node for node in serving if node != outlook.here]
        if drill.elsewhere and not elsewhere:
            raise ConfigError(
                f"{drill.name}: {outlook.here} serves, and the drill would cut off or end what watches it",
                hint="run the rehearsal on the other node, or `safekit module swap` first",
            )
        if not serving:
            raise PeerError("no node serves the module")
        return (elsewhere or serving)[0]

    def _order(self, drill: Drill, outlook: Outlook, victim: str) -> dict[str, Any]:
        others = [address for node, addresses in outlook.addresses.items() if node != victim for address in addresses]
        return {
            "kind": drill.kind,
            "seconds": min(length_s(drill, outlook.promises, self._asked.seconds), LONGEST_S),
            "port": self._asked.target.port,
            "addresses": others if drill.kind == "partition" else [],
            "path": self._asked.path,
            "fill_bytes": self._asked.fill_bytes,
        }

    async def _told(self, victim: str, seconds: float, earlier: Mapping[str, Any]) -> dict[str, Any]:
        """What the node says became of its drill, as soon as it can say anything again."""
        until_s = time.monotonic() + seconds + WELL_S
        while time.monotonic() < until_s:
            with contextlib.suppress(SafekitError, TimeoutError):
                found = await self._cluster.agent(victim, {"do": "outcome"}, 5.0)
                if found and found != earlier:
                    return dict(found)
            await asyncio.sleep(LOOK_S)
        raise PeerError(f"{victim} has not said that the drill is undone", hint=f"look at {victim} by hand")

    async def _well(self, probe: Probe, promised_s: float, before: Mapping[str, Node], drill: Drill) -> dict[str, Node]:
        """The states when it is well again, or at the end of the time."""
        until_s = time.monotonic() + promised_s + WELL_S
        serving = {node for node, state in before.items() if state.serves}
        while True:
            states = await self._cluster.states(self._asked.module)
            moved = drill.name != "swap" or {node for node, state in states.items() if state.serves} != serving
            known = all(state.is_well for node, state in states.items() if before[node].state)
            if (known and moved and probe.is_served(CALM_S)) or time.monotonic() > until_s:
                return states
            await asyncio.sleep(LOOK_S)

    async def _outcome(
        self,
        drill: Drill,
        victim: str,
        course: tuple[float, Mapping[str, Any], str],
        states: tuple[Mapping[str, Node], Mapping[str, Node]],
        seen: Seen,
        outlook: Outlook,
    ) -> Outcome:
        (begun, told, trouble), (before, after) = course, states
        return Outcome(
            drill=drill.name,
            says=drill.says,
            node=victim,
            begun=begun,
            ended=time.time(),
            done=str(told.get("done", "")),
            undone=told.get("undone"),
            promised_s=drill.promise(outlook.promises),
            interruption_ms=seen.interruption_ms,
            requests=seen.requests,
            failed=seen.failed,
            errors=seen.errors,
            before={node: str(state) for node, state in before.items()},
            after={node: str(state) for node, state in after.items()},
            well=all(state.is_well for node, state in after.items() if before[node].state)
            and seen.interruption_ms is not None,
            trouble=trouble,
            decisions=await self._decided(begun),
        )

    async def _decided(self, begun: float, nodes: tuple[str, ...] = ("*",)) -> tuple[Line, ...]:
        found = await self._cluster.decisions(self._asked.module, begun, nodes)
        lines = []
        for node, entries in found.items():
            for entry in entries:
                body = json.loads(entry["body"])
                lines.append(Line(wall=entry["wall"], node=node, text=body["decision"], rule=body["rule"]))
        return tuple(sorted(lines, key=lambda line: line.wall)[:LINES])

    def _report(self, outlook: Outlook, aborted: str) -> Report:
        return Report(
            module=self._asked.module,
            kind=str(outlook.about["kind"]),
            revision=int(outlook.about["revision"]),
            cluster=outlook.cluster,
            nodes=outlook.nodes,
            asker=outlook.here,
            by=str(self._cluster.operator),
            version=outlook.version,
            probe=self._asked.target.url,
            pace_ms=INTERVAL_S * 1000,
            begun=self._begun,
            ended=time.time(),
            findings=outlook.findings,
            accepted=tuple(sorted(self._asked.accepted)),
            outcomes=tuple(self._outcomes),
            planned=tuple(drill.name for drill in self._asked.drills),
            aborted=aborted,
            lab=self._asked.lab,
        )


async def sign(cluster: Cluster, report: Report) -> Signed:
    """With the key of this node; it does not leave safekitd."""
    signature = await cluster.ask("sign-report", {"text": report.text()})
    return Signed(report=report, key=await cluster.ask("report-key"), signature=signature)
