"""What a panel may hold, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from safekit_sdk.panels import Gauge, Panel, Sparkline, Table, Text


def test_a_panel_survives_the_way_to_the_console() -> None:
    parts = (
        Text(text="<b>words</b>", tone="care"),
        Table(head=("file", "bytes"), rows=(("a", "1"),)),
        Gauge(label="copied", value=0.5),
        Sparkline(label="latency", points=(1.0, 2.5)),
    )
    panel = Panel(title="Replication", parts=parts)
    assert Panel.model_validate_json(panel.model_dump_json()) == panel


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (Gauge, {"label": "x", "value": 1.5}),
        (Gauge, {"label": "x", "value": float("nan")}),
        (Sparkline, {"label": "x", "points": (1.0,)}),
        (Sparkline, {"label": "x", "points": (1.0, float("inf"))}),
        (Sparkline, {"label": "x", "points": (1.0,) * 241}),
        (Table, {"head": (), "rows": ()}),
        (Table, {"head": ("a", "b"), "rows": (("1",),)}),
        (Table, {"head": ("a",), "rows": (("1",),) * 51}),
        (Text, {"text": "x" * 2001}),
        (Text, {"text": "x", "tone": "shouting"}),
        (Text, {"text": "x", "html": "<b>"}),
        (Panel, {"title": "x", "parts": ()}),
        (Panel, {"title": "", "parts": (Text(text="x"),)}),
        (Panel, {"title": "x", "parts": (Text(text="x"),) * 13}),
    ],
)
def test_what_is_too_large_or_no_part_is_refused(part: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part(**wrong)
