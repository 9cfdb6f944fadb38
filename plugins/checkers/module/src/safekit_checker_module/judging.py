"""From the nodes' answers to a verdict; pure."""

from __future__ import annotations

from collections.abc import Mapping

from safekit_checker_module.config import ModuleConfig
from safekit_sdk import ModuleSeen, Verdict

Answers = Mapping[str, ModuleSeen]


def judge(config: ModuleConfig, own_node: str, answers: Answers) -> Verdict:
    """Down only when every node that is asked for was seen to have it in another state."""
    nodes = _asked_for(config, own_node, answers)
    if missing := [node for node in nodes if node not in answers]:
        return Verdict.unknown(f"there is no node '{missing[0]}' in this cluster; there are: {', '.join(answers)}")
    found = {node: answers[node] for node in nodes if answers[node].state}
    for node, module in found.items():
        if _is_wanted(config, module):
            return Verdict.up(f"module {config.module} is {module} on {node}", **_facts(node, module))
    troubles = [f"{node} is silent" for node in nodes if not answers[node].heard]
    if troubles or not found:
        seen = [f"module {config.module} is {_places(found)}"] if found else []
        absent = [] if troubles else [f"there is no module '{config.module}' on {', '.join(nodes)}"]
        return Verdict.unknown("; ".join((*seen, *troubles, *absent)))
    node, module = next(iter(found.items()))
    return Verdict.down(f"module {config.module} is {_places(found)}, not {_wanted(config)}", **_facts(node, module))


def newest_epoch(config: ModuleConfig, own_node: str, answers: Answers) -> int | None:
    """Of the nodes that are asked for, as far as they answered."""
    some = [answers[node] for node in _asked_for(config, own_node, answers) if node in answers]
    return max((module.epoch for module in some if module.state), default=None)


def _asked_for(config: ModuleConfig, own_node: str, answers: Answers) -> list[str]:
    if config.on == "any":
        return list(answers)
    return [own_node if config.on == "this" else config.on]


def _is_wanted(config: ModuleConfig, module: ModuleSeen) -> bool:
    return module.state in config.states and (not config.ready or module.readiness == "Ready")


def _wanted(config: ModuleConfig) -> str:
    return f"{', '.join(config.states)}{' and Ready' if config.ready else ''}"


def _places(found: Mapping[str, ModuleSeen]) -> str:
    return ", ".join(f"{module} on {node}" for node, module in found.items())


def _facts(node: str, module: ModuleSeen) -> dict[str, str]:
    facts = {"node": node, "state": module.state, "readiness": module.readiness, "epoch": str(module.epoch)}
    return facts | ({"why": module.reason[:400]} if module.reason else {})
