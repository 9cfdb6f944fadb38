"""Engine events, decisions and states as JSON; events by the name of their class."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

from pydantic import TypeAdapter

from safekit.engine import NodeState, events
from safekit.engine.actions import Explain
from safekit.engine.module import Module

_EVENTS: dict[str, TypeAdapter[Any]] = {cls.__name__: TypeAdapter(cls) for cls in get_args(events.Event)}
_EXPLAIN = TypeAdapter(Explain)
_STATE = TypeAdapter(NodeState)
_MODULE = TypeAdapter(Module)


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


def dump_state(node: NodeState) -> str:
    """All that the engine knows, as JSON with `Infinity`. Module by module: other threads run in between."""
    modules = (f"{json.dumps(name)}:{_text(_MODULE, module)}" for name, module in node.modules.items())
    return f'{{"node":{_text(_STATE, replace(node, modules={}))},"modules":{{{",".join(modules)}}}}}'


def _text(adapter: TypeAdapter[Any], value: Any) -> str:
    return json.dumps(adapter.dump_python(value, mode="json"), separators=(",", ":"))


def load_state(body: str) -> NodeState:
    """ValueError for what this version does not know."""
    said = json.loads(body)
    return _STATE.validate_python({**said["node"], "modules": said["modules"]})
