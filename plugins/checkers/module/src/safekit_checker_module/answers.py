"""What `safekit status -o json` prints, as far as it is needed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModuleAnswer(_Part):
    name: str
    state: str
    readiness: str
    epoch: int = 0
    """It grows each time that the service is started."""
    since_s: float = 0.0
    reason: str = Field(default="", max_length=4096)

    def __str__(self) -> str:
        return f"{self.state}/{self.readiness}"


class _Result(_Part):
    modules: tuple[ModuleAnswer, ...]


class _Error(_Part):
    message: str = "it gave no reason"


class NodeAnswer(_Part):
    """One of both."""

    result: _Result | None = None
    error: _Error | None = None

    def module(self, name: str) -> ModuleAnswer | None:
        found = self.result.modules if self.result else ()
        return next((module for module in found if module.name == name), None)

    @property
    def trouble(self) -> str:
        """Why the node said nothing; empty when it said something."""
        if self.result is not None:
            return ""
        return (self.error or _Error()).message


Answers = dict[str, NodeAnswer]
_ANSWERS: TypeAdapter[Answers] = TypeAdapter(Answers)


def read_answers(text: str) -> Answers:
    """By node. ValueError when it is something else."""
    return _ANSWERS.validate_json(text)
