"""Panels that an installed package adds to the console's page of a module.

A panel is a function from what the nodes say of a module to a description of what is shown, under the entry-point group
`safekit.panels`. It holds no markup: the console draws it, and shows every word of it as text. It is called in a
process of its own with bounded time and memory; one that fails or hangs is named on the page, and nothing else suffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

GROUP: Final = "safekit.panels"
Word = Annotated[str, Field(max_length=200)]
Tone = Literal["good", "care", "bad", "still"]
"""As the console's own sentences: all is well, somebody has to look, something is broken, neither."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Part):
    kind: Literal["text"] = "text"
    text: Annotated[str, Field(max_length=2000)]
    tone: Tone = "still"


class Table(_Part):
    """Every row has as many cells as the head."""

    kind: Literal["table"] = "table"
    head: Annotated[tuple[Word, ...], Field(min_length=1, max_length=8)]
    rows: Annotated[tuple[tuple[Word, ...], ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _is_square(self) -> Table:
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"every row of the table has {len(self.head)} cells, as its head")
        return self


class Gauge(_Part):
    """How full, or how far, something is."""

    kind: Literal["gauge"] = "gauge"
    label: Word
    value: Annotated[FiniteFloat, Field(ge=0, le=1)]
    text: Word = ""
    """Beside it, as `12 of 40 GiB`; per cent when empty."""


class Sparkline(_Part):
    """A course of values, oldest first, from the least to the greatest of them."""

    kind: Literal["sparkline"] = "sparkline"
    label: Word
    points: Annotated[tuple[FiniteFloat, ...], Field(min_length=2, max_length=240)]
    text: Word = ""
    """Beside it, as `3.2 ms now`; the last value when empty."""


Part = Annotated[Text | Table | Gauge | Sparkline, Field(discriminator="kind")]


class Panel(_Part):
    title: Annotated[str, Field(min_length=1, max_length=80)]
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=12)]


class NodeFacts(_Part):
    """A module on one node that answers."""

    state: str
    """`PRIM`, `ALONE` and so on."""
    readiness: str
    values: Mapping[str, str] = {}
    """What rules look at, by `class.ident`: up, down, and what plugins have set."""
    facts: Mapping[str, Mapping[str, str]] = {}
    """By `class.ident` what `Resource.inspect` answered, and what a checker measured last."""


class ModuleFacts(_Part):
    name: str
    kind: str
    nodes: Mapping[str, NodeFacts]
    """A node that does not answer is not in it."""


PanelMaker = Callable[[ModuleFacts], Panel | None]
"""None where the module has nothing that the panel is about."""
