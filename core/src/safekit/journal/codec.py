"""Engine events, decisions and durable facts as JSON, by the name of their class."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter

from safekit.engine import events
from safekit.engine.actions import Explain

_EVENTS: dict[str, TypeAdapter[Any]] = {cls.__name__: TypeAdapter(cls) for cls in get_args(events.Event)}
_EXPLAIN = TypeAdapter(Explain)


def dump_event(event: events.Event) -> tuple[str, str]:
    """Return the type's name and its JSON."""
    name = type(event).__name__
    return name, _EVENTS[name].dump_json(event).decode()


def load_event(name: str, body: str) -> events.Event:
    """ValueError for a name or body that this version does not know."""
    if name not in _EVENTS:
        raise ValueError(f"the journal has an event '{name}' that this version does not know")
    event: events.Event = _EVENTS[name].validate_json(body)
    return event


def dump_decision(decision: Explain) -> str:
    return _EXPLAIN.dump_json(decision).decode()


def load_decision(body: str) -> Explain:
    return _EXPLAIN.validate_json(body)
