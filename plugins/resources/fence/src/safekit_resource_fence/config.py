"""What a module file says about the fence device."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StringConstraints, model_validator

from safekit_sdk import Duration, FailureAction, Ident, ResourceConfig, Secret

GRACE_S: Final = 0.5
"""How long an agent that took too long may take to end after SIGTERM."""
_RESERVED: Final = frozenset({"action", "option", "agent", "nodename"})
"""What the convention has the caller say."""
_SECRET: Final = re.compile(r"(^|_)(pass|passwd|password|secret|token|api_?key|community)$", re.IGNORECASE)


def _no_fraction(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"{value} may not be what was written; put it in quotes")
    return value


def _is_free(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"'{name}' is said to the agent at each call; remove it")
    return name


def _may_be_read(name: str) -> str:
    if _SECRET.search(name):
        raise ValueError(f"'{name}' is a secret; give it in `secrets`, as env:NAME or file:/path")
    return name


Text = Annotated[str, StringConstraints(strict=True, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Value = Annotated[StrictBool | StrictInt | Text, BeforeValidator(_no_fraction)]
OptionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"), AfterValidator(_is_free)]
Options = Annotated[dict[Annotated[OptionName, AfterValidator(_may_be_read)], Value], Field(max_length=64)]
Secrets = Annotated[dict[OptionName, Secret], Field(max_length=16)]


class FenceConfig(ResourceConfig):
    agent: str = Field(pattern=r"^(/[^\x00-\x20]{1,255}|[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$")
    """The fence agent: the name of a program (`fence_ipmilan`), or its absolute path."""
    options: Options = Field(default_factory=dict)
    """What it is told for every node; `safekit plan` compares the names with the agent's own list."""
    nodes: dict[Ident, Options] = Field(min_length=2, max_length=32)
    """What it is told for each node of the module, to find that node's power: `node1: {plug: 3}`. Every node has an
    entry, as each may have to cut the other; `{}` where the agent goes by the node's name."""
    secrets: Secrets = Field(default_factory=dict)
    """Options that are secret, for every node: `password: file:/etc/safekit/ipmi`."""
    node_secrets: dict[Ident, Secrets] = Field(default_factory=dict, max_length=32)
    """Options that are secret and differ by node; they come before those of `secrets`."""
    delay: dict[Ident, Duration] | Duration = Duration(0)
    """Wait before the power is cut, at most 1m. A mapping says it for each node that is to be cut, so that of two nodes
    that lost each other the one with the longer time is the one that lives: `{node1: 5s, node2: 0s}`."""
    off_timeout: Duration = Duration(20)
    """How long the agent's `off` may take."""
    status_timeout: Duration = Duration(10)
    """How long the agent's `status`, `monitor` or `metadata` may take, and for how long after an `off` its `status` may
    still say that the node is on."""
    retries: int = Field(default=1, ge=0, le=5)
    """How often `off` is tried again when the node is not known to be off after it."""
    confirm: bool = True
    """Whether `status` has to say that the node is off. Without it the word of `off` is taken; an agent or a device
    that is wrong about it then lets both nodes run the module at the same time, and write to the same data."""
    interval: Duration = Duration(60)
    """Time between two looks whether the device answers, at least 1s."""
    action: FailureAction = "none"
    """What the generated rule does when the device does not answer: nothing, as the application is not harmed by it."""
    start_timeout: Duration = Duration(120)
    """How long fencing may take in all; at least what `delay`, `off_timeout`, `status_timeout` and `retries` allow."""

    @property
    def tries(self) -> int:
        return self.retries + 1

    @property
    def bound_s(self) -> float:
        """The longest that fencing takes: a look at the metadata, the delay, and all tries. In each the node may
        still be on for `status_timeout`, and the last question may take as long."""
        delays = self.delay.values() if isinstance(self.delay, dict) else [self.delay]
        longest_s = max((delay.seconds for delay in delays), default=0.0)
        one_s = self.off_timeout.seconds + 2 * self.status_timeout.seconds + 2 * GRACE_S
        return self.status_timeout.seconds + GRACE_S + longest_s + self.tries * one_s

    def delay_s(self, node: str) -> float:
        """Before this node is cut."""
        delay = self.delay.get(node, Duration(0)) if isinstance(self.delay, dict) else self.delay
        return delay.seconds

    def plain(self, node: str) -> dict[str, str]:
        """What the agent is told for the node, without secrets."""
        merged = {**self.options, **self.nodes[node]}
        return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in merged.items()}

    def hidden(self, node: str) -> dict[str, Secret]:
        return {**self.secrets, **self.node_secrets.get(node, {})}

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        delayed = set(self.delay) if isinstance(self.delay, dict) else set()
        for key, named in (("node_secrets", set(self.node_secrets)), ("delay", delayed)):
            if unknown := sorted(named - set(self.nodes)):
                raise ValueError(f"{key} names {unknown[0]}, and nodes does not; they are {', '.join(self.nodes)}")
        for node in self.nodes:
            if both := sorted(set(self.plain(node)) & set(self.hidden(node))):
                raise ValueError(f"'{both[0]}' is an option and a secret of {node}; remove one")
        for one, other in combinations(self.nodes, 2):
            if self.nodes[one] and self.plain(one) == self.plain(other):
                raise ValueError(f"{one} and {other} have the same options: to cut one would cut the other as well")
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.when not in (None, "both"):
            raise ValueError("when: a secondary has to be able to cut its primary off; remove `when`")
        delays = self.delay.values() if isinstance(self.delay, dict) else [self.delay]
        if any(delay.seconds > 60 for delay in delays):
            raise ValueError("delay: more than 1m; nothing runs meanwhile")
        if min(self.off_timeout.seconds, self.status_timeout.seconds) <= 0 or self.interval.seconds < 1:
            raise ValueError("off_timeout and status_timeout are longer than 0s, interval is 1s at least")
        if self.bound_s > self.start_timeout.seconds:
            raise ValueError(
                f"start_timeout: {self.start_timeout} ends a fencing that may take {self.bound_s:g}s; raise it, or "
                "shorten delay, off_timeout, status_timeout or retries"
            )
        return self
