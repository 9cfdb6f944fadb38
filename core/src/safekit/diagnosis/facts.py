"""What a node says of itself, as it travels to whoever asks. A node of another version may say more, which is
ignored, or less, which has a default: its answer is understood as far as it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(max_length=128)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Facts(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class DiskFacts(Facts):
    path: Text
    total_bytes: int = 0
    free_bytes: int = 0
    files: int = 0
    """How many files it can hold; 0 where the file system has no such limit."""
    files_free: int = 0
    read_only: bool = False


class FileTrouble(Facts):
    """A file of safekit's own that the daemon could not use at its next start."""

    trouble: Text
    mend: Text = ""


class CertificateFacts(Facts):
    """A PEM file that a module's settings name."""

    path: Text
    module: Name
    expires: Number
    """Unix time at which the first of its certificates ends."""


class MachineFacts(Facts):
    """What is known of a node whether its daemon runs or not."""

    version: Name = ""
    """Of the package that is installed."""
    plugins: dict[Name, Text] = {}
    """`group name` to `package version`."""
    disks: tuple[DiskFacts, ...] = ()
    files: tuple[FileTrouble, ...] = ()
    watchdog: Literal["off", "automatic", "required"] = "automatic"
    watchdog_device: Text = ""
    watchdog_present: bool = False
    self_fence: Literal["none", "reboot"] = "none"
    sysrq: Text = ""
    sysrq_writable: bool = False
    certificates: tuple[CertificateFacts, ...] = ()
    lacks: dict[Name, tuple[Text, ...]] = {}
    """By module: what on this machine would make a start fail, as its plugins say it."""
    unchecked: tuple[Name, ...] = ()
    """Modules whose plugins were not asked: it would have taken too long."""


class ProcessFacts(Facts):
    """The daemon that runs."""

    pid: int
    version: Name
    realtime_wanted: bool = True
    realtime: bool = True
    locked: bool = True
    """Its memory cannot be swapped out."""
    alarms: tuple[Text, ...] = ()


class PeerFacts(Facts):
    """Another node, as this one hears it."""

    node: Name
    alive: bool
    hears_us: bool = True
    silent_s: dict[Name, Number] = {}
    """Since it was last heard, by network. A network on which it never was heard is not here."""
    longest_gap_s: Number = 0.0
    """Between two of its heartbeats, on whatever network, within the time looked at. A loss is no gap."""
    losses: int = 0
    """How often it was lost within a day, and heard again although its daemon had not been restarted."""


class WitnessFacts(Facts):
    plugin: Name
    resource: Name
    lease_s: Number
    timeout_s: Number
    exclusive: bool
    value: Name = ""
    """up, down, or empty: not asked yet."""
    reason: Text = ""


class TroubleFacts(Facts):
    """A checker or a resource that is not well."""

    resource: Name
    value: Name
    reason: Text = ""


class FarmFacts(Facts):
    serving: bool
    weight: int
    unowned: int
    """How many of the buckets of clients belong to no node, as this node knows it."""


class ModuleFacts(Facts):
    name: Name
    kind: Literal["mirror", "farm", "light"]
    nodes: tuple[Name, ...]
    state: Name
    readiness: Literal["NotReady", "Transient", "Ready"]
    reason: Text = ""
    since_s: Number = 0.0
    desired: bool = True
    """The operator wants it started."""
    active: bool = False
    """Something of a primary may run."""
    failover: bool = True
    loops: int = 0
    max_loops: int = 3
    up_to_date: bool = True
    holding: bool = False
    """Its writes are not acknowledged: the secondary does not answer."""
    isolation: Literal["safety", "availability"] = "safety"
    witness: WitnessFacts | None = None
    has_fence: bool = False
    """A step of it cuts the power of a lost node."""
    lost_after_s: Number = 1.0
    interval_s: Number = 0.1
    signature: Name = ""
    """Of the configuration in force."""
    edited: bool = False
    """Its files were changed and not applied."""
    packages: tuple[Name, ...] = ()
    troubles: tuple[TroubleFacts, ...] = ()
    farm: FarmFacts | None = None

    @property
    def runs(self) -> bool:
        return self.state in {"ALONE", "PRIM", "UP"} and self.readiness == "Ready"


class AlarmFacts(Facts):
    """Entries of a node's history with one cause, within the last day."""

    module: Name
    severity: Literal["alarm", "warning"] = "alarm"
    text: Text
    """Of the last one."""
    count: int
    last_s: Number
    """How long ago the last one was, by that node's clock."""


class NodeFacts(Facts):
    node: Name
    machine: MachineFacts
    process: ProcessFacts
    revision: int = 0
    """Of the cluster file."""
    networks: tuple[Name, ...] = ()
    """Those of the cluster on which this node has an address."""
    lost_after_s: Number = 1.0
    """In force for this node: the shortest of its modules."""
    interval_s: Number = 0.1
    peers: tuple[PeerFacts, ...] = ()
    beats_s: Number = 0.0
    """How long a time the gaps were looked for in."""
    modules: tuple[ModuleFacts, ...] = ()
    broken: tuple[Name, ...] = ()
    """Modules whose configuration is there and cannot be used."""
    alarms: tuple[AlarmFacts, ...] = ()
    unread: tuple[Name, ...] = ()
    """What its disks did not give, or not in time: `machine`, `history`, `files`. That part is missing here."""


class ClockFacts(Facts):
    """How far a node's wall clock is ahead of the asker's."""

    ahead_s: Number
    error_s: Number
    """Half of the round trip: the truth lies within."""


class NodeAnswer(Facts):
    node: Name
    facts: NodeFacts | None = None
    trouble: Text = ""
    """Why there are no facts."""
    clock: ClockFacts | None = None


class DaemonTrouble(Facts):
    """What can be told of a node whose daemon does not answer."""

    pid: int = 0
    """Of the daemon that holds the lock and is silent; 0 when none runs."""
    process_state: Name = ""
    """In the kernel's words: `stopped`, `disk-sleep`."""
    stopped_in_order: bool | None = None
    """By a signal, after its modules; None where its history does not say."""
    last_words: Text = ""
    """The last line of its log that says something is wrong."""
    log: Text = ""
    machine: MachineFacts
    node: Name = ""
    """Its name in the cluster; empty where that cannot be read."""
    modules: tuple[Name, ...] = ()


class ClusterFacts(Facts):
    asker: Name
    asked_wall: Number = 0.0
    """Unix time of the asker."""
    nodes: tuple[NodeAnswer, ...] = ()
    daemon: DaemonTrouble | None = None
    """The asker's own, when it does not answer: nothing is known of any other node then."""
    module: Name = ""
    """The only one that was asked for; empty for all."""

    @property
    def answered(self) -> tuple[NodeFacts, ...]:
        return tuple(answer.facts for answer in self.nodes if answer.facts is not None)

    @property
    def machines(self) -> tuple[tuple[str, MachineFacts], ...]:
        """Every machine of which something is known."""
        own = () if self.daemon is None else ((self.asker, self.daemon.machine),)
        return (*own, *((facts.node, facts.machine) for facts in self.answered))

    @property
    def modules(self) -> dict[str, dict[str, ModuleFacts]]:
        """By module and node. A node that did not answer is not here."""
        found: dict[str, dict[str, ModuleFacts]] = {}
        for facts in self.answered:
            for module in facts.modules:
                found.setdefault(module.name, {})[facts.node] = module
        return {name: found[name] for name in sorted(found)}
