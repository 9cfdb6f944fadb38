"""What requests carry, and what answers hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from safekit_console.accounts import UserName
from safekit_console.roles import Grants
from safekit_sdk.panels import Panel

NodeName = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Password = Annotated[str, Field(max_length=1024)]
Action = Literal[
    "start", "stop", "restart", "swap", "stopstart", "forcestop", "prim", "second", "failover-on", "failover-off"
]
DAY_S = 86400


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ActionRequest(Request):
    action: Action
    nodes: Annotated[tuple[NodeName, ...], Field(max_length=100)] = ()
    """Where; `*` is every node of the module. Not needed for swap and failover."""
    force: bool = False
    """Only for prim: even if acknowledged writes may be lost."""
    confirm: Annotated[str, Field(max_length=64)] = ""
    """The module's name, where data are at stake."""


class ValueRequest(Request):
    value: Annotated[str, Field(min_length=1, max_length=256)]
    nodes: Annotated[tuple[NodeName, ...], Field(max_length=100)] = ("*",)


class WeightRequest(Request):
    weight: Annotated[int, Field(ge=0, le=10000)] | None
    """0: no new clients; null: as configured."""


class FilesRequest(Request):
    files: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=512)], Annotated[str, Field(max_length=3 << 20)]],
        Field(min_length=1, max_length=500),
    ]
    """Relative path to text; `module.yaml` has to be among them."""


class TextRequest(Request):
    text: Annotated[str, Field(max_length=1 << 20)]


class FromAppRequest(Request):
    app: Name
    module: Name
    kind: Literal["mirror", "farm", "light"]
    vips: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64)] = ()
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    sticky: bool = False
    options: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=4096)]], Field(max_length=100)
    ] = {}


class JoinTokenRequest(Request):
    ttl_s: Annotated[float, Field(gt=0, le=DAY_S)] = 600.0


class NewUserRequest(Request):
    name: UserName
    password: Password
    grants: Grants
    """Module to monitor, control or admin; `*` for the whole cluster."""


class ChangeUserRequest(Request):
    password: Password = ""
    grants: Grants | None = None


class PasswordRequest(Request):
    old: Password
    new: Password


class NewTokenRequest(Request):
    label: Annotated[str, Field(min_length=1, max_length=80)]
    grants: Grants
    ttl_s: Annotated[float, Field(ge=60, le=366 * DAY_S)] = 30.0 * DAY_S


class Told(BaseModel):
    """A sentence about what would happen."""

    text: str
    tone: Literal["good", "care", "bad", "still"]


class UserAnswer(BaseModel):
    name: str
    grants: dict[str, str]
    created: float


class TokenAnswer(BaseModel):
    id: str
    user: str
    label: str
    grants: dict[str, str]
    expires: float
    created: float


class IssuedAnswer(TokenAnswer):
    token: str
    """Shown this once."""


class LineAnswer(BaseModel):
    id: int
    node: str
    wall: float
    kind: str
    module: str
    text: str
    severity: str
    rule: str
    before: str
    after: str
    by: str


class NodeAnswer(BaseModel):
    name: str
    reachable: bool
    trouble: str
    alarms: list[str]
    hears: dict[str, bool]
    console: str


class ClusterAnswer(BaseModel):
    name: str
    answered_by: str
    version: int
    """Grows with each change; what `events` tells."""
    headline: list[Told]
    nodes: list[NodeAnswer]


class ModuleOnNode(BaseModel):
    reachable: bool
    state: str
    readiness: str
    reason: str
    since: float
    detail: dict[str, Any]
    if_it_died: Told


class ModuleAnswer(BaseModel):
    name: str
    kind: str
    nodes: dict[str, ModuleOnNode]


class CourseAnswer(BaseModel):
    node: str
    resource: str
    seconds: dict[str, float]
    falls: int


class PanelAnswer(BaseModel):
    name: str
    package: str
    panel: Panel | None
    trouble: str
    """Why there is none."""
