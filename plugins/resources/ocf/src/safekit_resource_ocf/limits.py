"""How long each action of an agent may take: what the operator wrote, or what the agent advises."""

from __future__ import annotations

from typing import Final

from safekit_resource_ocf.config import OcfConfig
from safekit_resource_ocf.metadata import Metadata
from safekit_sdk import ConfigError, Duration

SHARE: Final = 0.9
"""Of a limit of the step, what its action is given; the rest is for notifications and a look at the outcome."""
NOTIFY_SHARE: Final = 0.04
PROBE_SHARE: Final = 0.05
DEFAULT_S: Final = 20.0
"""What Pacemaker gives an action that advises nothing."""
INTERVAL_S: Final = 10.0
_BOUND: Final = {"start": "start_timeout", "promote": "start_timeout", "stop": "stop_timeout", "demote": "stop_timeout"}


def step_s(config: OcfConfig, metadata: Metadata, action: str) -> float:
    """For start, promote, stop and demote."""
    key = _BOUND[action]
    most_s = bound_s(config, action) * SHARE
    return most_s if key in config.model_fields_set else min(_advised_s(metadata, action), most_s)


def bound_s(config: OcfConfig, action: str) -> float:
    """What the host gives the step."""
    limit: Duration = getattr(config, _BOUND[action])
    return limit.seconds


def monitor_s(config: OcfConfig, metadata: Metadata, *, promoted: bool) -> float:
    if config.monitor_timeout is not None:
        return config.monitor_timeout.seconds
    advised = metadata.advice("monitor", depth=config.check_level, promoted=promoted)
    return advised.timeout_s or DEFAULT_S


def interval_s(config: OcfConfig, metadata: Metadata, *, promoted: bool) -> float:
    if config.interval is not None:
        return config.interval.seconds
    advised = metadata.advice("monitor", depth=config.check_level, promoted=promoted)
    return max(advised.interval_s or INTERVAL_S, 1.0)


def check(config: OcfConfig, metadata: Metadata) -> None:
    """ConfigError where the agent advises longer than the step may take, and the operator has not said otherwise."""
    for action, key in _BOUND.items():
        advised_s = _advised_s(metadata, action)
        if metadata.has(action) and key not in config.model_fields_set and advised_s > bound_s(config, action) * SHARE:
            raise ConfigError(
                f"{config.agent} advises {advised_s:g}s for its {action}; {key} ({getattr(config, key)}) is too short",
                hint=f"write `{key}: {wanted(advised_s)}`, or a shorter one if you know better",
            )


def wanted(advised_s: float) -> Duration:
    """The limit of a step of which the advised time is the action's part, in whole seconds."""
    return Duration(float(-(-advised_s // SHARE)))


def _advised_s(metadata: Metadata, action: str) -> float:
    return metadata.advice(action).timeout_s or DEFAULT_S
