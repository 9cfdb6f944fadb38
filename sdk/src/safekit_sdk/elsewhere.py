"""What safekitd of a node knows of a module on every node of the cluster, for plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from safekit_sdk.control import AsyncControlClient
from safekit_sdk.errors import PeerError

OPERATION: Final = "module-states"
NODES_MAX: Final = 1000
Word = Annotated[str, Field(max_length=32)]


class ModuleSeen(BaseModel):
    """A module on one node, as its last heartbeat told."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    heard: bool = True
    """False: the node is silent, and what runs there is not known."""
    state: Word = ""
    """`PRIM`, `ALONE` and so on; empty when the node has no such module."""
    readiness: Word = ""
    epoch: int = 0
    """It grows each time that the service is started."""
    reason: Annotated[str, Field(max_length=4096)] = ""

    def __str__(self) -> str:
        return f"{self.state}/{self.readiness}" if self.state else ""


Seen = Mapping[str, ModuleSeen]
"""By node; every node of the cluster is in it."""
_ANSWER: TypeAdapter[dict[str, ModuleSeen]] = TypeAdapter(
    Annotated[dict[Annotated[str, Field(max_length=128)], ModuleSeen], Field(max_length=NODES_MAX)]
)


async def module_states(socket: Path, module: str, timeout_s: float = 5.0) -> Seen:
    """Asked of safekitd at its control socket: no node is asked anything, so it costs next to nothing. PeerError when
    it does not run here or says something else, TimeoutError when it is silent."""
    answer = await AsyncControlClient(socket).call(OPERATION, {"module": module}, timeout_s=timeout_s)
    try:
        return _ANSWER.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PeerError(f"safekitd's answer is not understood: {first['msg']}", hint="is it of this version?") from None
