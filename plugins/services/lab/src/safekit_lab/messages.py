"""What goes over the control socket and into the state directory."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from .terms import Direction, NodeState, Role

MAX_MESSAGE_BYTES = 1 << 20


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Describe(_Message):
    do: Literal["describe"] = "describe"


class Down(_Message):
    do: Literal["down"] = "down"


class Crash(_Message):
    do: Literal["crash"] = "crash"
    node: str


class Boot(_Message):
    do: Literal["boot"] = "boot"
    node: str


class Freeze(_Message):
    """deep also drops all that goes to or from the node: its kernel no longer answers ARP or TCP handshakes."""

    do: Literal["freeze"] = "freeze"
    node: str
    deep: bool = False


class Thaw(_Message):
    do: Literal["thaw"] = "thaw"
    node: str


class Lose(_Message):
    """Drop percent of the packets of some ways of a node: 100 is a cut, 0 heals."""

    do: Literal["lose"] = "lose"
    node: str
    percent: Annotated[float, Field(ge=0, le=100)]
    to: str | None = None
    network: int | None = None
    direction: Direction = "both"


class FillDisk(_Message):
    do: Literal["fill-disk"] = "fill-disk"
    node: str


class FreeDisk(_Message):
    do: Literal["free-disk"] = "free-disk"
    node: str


Request = Annotated[
    Describe | Down | Crash | Boot | Freeze | Thaw | Lose | FillDisk | FreeDisk, Field(discriminator="do")
]
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


class NodeStatus(_Message):
    name: str
    role: Role
    state: NodeState
    pid: int | None
    ipv4: tuple[IPv4Address, ...]
    ipv6: tuple[IPv6Address, ...]


class Reply(_Message):
    """error is empty when the request was carried out."""

    error: str = ""
    nodes: tuple[NodeStatus, ...] = ()
