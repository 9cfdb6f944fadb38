"""What checkers, resources, apps and witnesses have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from safekit_sdk.config import Config
from safekit_sdk.elsewhere import Seen
from safekit_sdk.errors import PeerError, PluginError
from safekit_sdk.units import Scope

API_VERSION = 1
"""The contract of this SDK. It changes when a plugin written for the earlier one would no longer work."""

MAX_REMARKS = 8
MAX_REMARK_CHARS = 400
MAX_FACTS = 16
MAX_FACT_CHARS = 65_536
ModuleKind = Literal["mirror", "farm", "light"]
C = TypeVar("C", bound=Config)


def _discard(*_: str) -> None:
    """Stand-in for a report that nobody reads."""


async def _alone(module: str) -> Seen:
    raise PeerError(f"no safekitd is here that knows of module '{module}'")


@dataclass(frozen=True, slots=True)
class Context:
    """Where a plugin instance lives. All directories exist and are private to the module (mode 0700)."""

    module: str
    kind: ModuleKind
    node: str
    name: str
    """This instance's identifier, unique among its class in the module."""
    scope: Scope = "prim"
    state_dir: Path = Path("/var/lib/safekit")
    """Survives a reboot."""
    run_dir: Path = Path("/run/safekit")
    """Gone after a reboot."""
    cgroup: Path | None = None
    """A cgroup of the module's own for the processes it starts, where the machine has a writable one."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The module's `variables:`; given to scripts as environment variables."""
    pipeline: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """For `examine`: the module's steps in their order, each the plugin's name and its settings."""
    set_value: Callable[[str, str], None] = _discard
    """Publish a resource value for the rules: `set_value("rfs.uptodate", "up")`."""
    log: Callable[[str], None] = _discard
    """One line for the module's log."""
    module_states: Callable[[str], Awaitable[Seen]] = _alone
    """What this node knows of a module of the cluster, by its name, on every node. PeerError or TimeoutError when
    safekitd cannot be asked."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What a plugin sees on one machine before anything changes there, one sentence each."""

    findings: tuple[str, ...] = ()
    """What would make a start fail, with what to do."""
    notes: tuple[str, ...] = ()
    """What an operator compares with the other nodes, or has to know first: at most MAX_REMARKS of MAX_REMARK_CHARS."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What `confront` needs of each node: at most MAX_FACTS of MAX_FACT_CHARS. Another version's `confront` may read
    them."""


class Plugin(Generic[C]):
    """Base of every plugin class. A subclass names its configuration model and the SDK it was written for:

    `class TcpChecker(Checker[TcpConfig], api=1)`
    """

    api: ClassVar[int] = 0
    config_model: ClassVar[type[Config]]
    publishes: ClassVar[tuple[str, ...]] = ()
    """Values that it sets with `context.set_value` and that rules may name: `("rfs.uptodate", "rfs.degraded")`."""

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    def __init_subclass__(cls, api: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if api is not None:
            cls.api = api
        for base in getattr(cls, "__orig_bases__", ()):
            model = next(iter(get_args(base)), None)
            if isinstance(get_origin(base), type) and isinstance(model, type) and issubclass(model, Config):
                cls.config_model = model

    @classmethod
    def ident(cls, config: C) -> str:
        """The instance's identifier when the configuration gives no name. Letters, digits, `_ . : -`."""
        return getattr(config, "name", None) or "default"

    @classmethod
    def preflight(cls, config: C, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook for subclasses
        """What on THIS machine would make a start fail (missing program, interface, file), one sentence
        each with what to do. Called by `safekit plan` and `apply` before anything changes; changes nothing."""
        return []

    @classmethod
    def examine(cls, config: C, context: Context, beside: Sequence[C]) -> Examination:  # noqa: ARG003 - as above
        """`preflight` for a plugin that has to know where it would live: the module, the node, the directories, which
        may not be there yet and are not to be made. `beside`: what the module's other instances of this class are
        given. It takes a few seconds at most; `safekit plan` shows the notes of each node."""
        return Examination(tuple(cls.preflight(config, context.kind)))

    @classmethod
    def confront(cls, config: C, facts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Sequence[str]]:  # noqa: ARG003
        """What does not fit together between the nodes, by what `examine` told on each of them: sentences as of
        `preflight`, by the node where it is mended. Called on one of the nodes, when more than one told facts."""
        return {}

    @classmethod
    def remarks(cls, config: C, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook for subclasses
        """What the settings mean in operation, and when others suit better: at most MAX_REMARKS sentences of
        MAX_REMARK_CHARS, from the settings alone and so the same on every machine. `safekit plan` shows them."""
        return []


def check_api(plugin: type[Plugin[Any]], name: str) -> None:
    """PluginError when the class was not written for this SDK, naming what to do."""
    if plugin.api == API_VERSION:
        return
    if plugin.api == 0:
        raise PluginError(
            f"plugin '{name}' does not say which SDK it was written for",
            hint=f"its author adds api={API_VERSION} to `class {plugin.__name__}(…)`",
        )
    mend = f"upgrade the plugin's package, or ask its author for API {API_VERSION}"
    raise PluginError(
        f"plugin '{name}' was written for SDK API {plugin.api}; this node has {API_VERSION}",
        hint="upgrade safekit-sdk and safekit" if plugin.api > API_VERSION else mend,
    )
