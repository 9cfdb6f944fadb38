"""All checks, in order of weight, and what they were made on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from safekit.diagnosis import exclusion, links, machine, modules, reach
from safekit.diagnosis.facts import ClusterFacts
from safekit.diagnosis.finding import Finding, Severity, in_order

Check = Callable[[ClusterFacts], Iterator[Finding]]
CHECKS: Final[tuple[Check, ...]] = (
    modules.check_twice,
    modules.check_unseen,
    reach.check_daemon,
    modules.check_running,
    modules.check_stuck,
    modules.check_holding,
    reach.check_answers,
    links.check_hearing,
    machine.check_alarms,
    machine.check_unread,
    machine.check_disks,
    machine.check_files,
    reach.check_broken,
    modules.check_restarts,
    exclusion.check_witnesses,
    modules.check_standby,
    modules.check_failover,
    exclusion.check_isolation,
    exclusion.check_self_fence,
    modules.check_resources,
    modules.check_farms,
    reach.check_configuration,
    machine.check_lacks,
    machine.check_certificates,
    exclusion.check_margins,
    links.check_silent_networks,
    links.check_networks,
    links.check_loss_times,
    reach.check_versions,
    reach.check_plugins,
    machine.check_limits,
    reach.check_clocks,
    modules.check_history,
)
"""Of two findings of one severity the one whose check comes first weighs more."""


class Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    findings: tuple[Finding, ...]
    nodes: tuple[str, ...]
    """That answered."""
    modules: tuple[str, ...]
    not_looked_at: tuple[str, ...]
    """What could not be looked at, one sentence each: no finding there says nothing."""

    @property
    def at_risk(self) -> bool:
        return any(one.severity is not Severity.NOTE for one in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(one.severity is severity for one in self.findings)


def diagnose(cluster: ClusterFacts) -> Report:
    found = in_order(finding for check in CHECKS for finding in check(cluster))
    return Report(
        findings=found,
        nodes=tuple(facts.node for facts in cluster.answered),
        modules=tuple(cluster.modules),
        not_looked_at=tuple(_not_looked_at(cluster)),
    )


def _not_looked_at(cluster: ClusterFacts) -> Iterator[str]:
    if cluster.daemon is not None:
        yield f"the other nodes and the modules' states: safekitd of {cluster.asker} would tell. Ask on another node"
    for answer in cluster.nodes:
        if answer.facts is None:
            yield f"{answer.node}: it did not answer"
    for facts in cluster.answered:
        if facts.unread:
            yield f"{facts.node}: {', '.join(facts.unread)}, which its disk did not give"
    for node, found in cluster.machines:
        if found.unchecked:
            names = ", ".join(found.unchecked[:10])
            yield f"whether {node} has what these modules need ({names}): name one, `safekit doctor MODULE`"
