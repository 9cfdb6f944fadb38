"""An incident in words: what, where, why, and what to type."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from safekit_notify.incidents import Event, Incident
from safekit_notify.words import Severity

MAX_LINES: Final = 20
MAX_CHARS: Final = 6000


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    text: str
    severity: Severity
    cluster: str
    node: str
    """Whose decision it is about."""
    module: str
    key: str
    """Of the incident; the same when it is told again."""

    def plain(self) -> dict[str, str]:
        return asdict(self)


def write(incident: Incident, cluster: str, why: dict[str, Any]) -> Message:
    """`why`: what safekitd explains of the main event; its own words when it is empty."""
    main = incident.main
    change = why.get("change") or main.body
    about = f"{main.module} on {main.node}" if main.module else main.node
    title = f"[{main.severity}] {cluster}: {about}: {main.body.get('decision', '')}"
    lines = [*_why(change), "", *_course(incident), "", *_advice(main)]
    return Message(
        title=_line(title)[:250],
        text="\n".join(map(_line, lines))[:MAX_CHARS],
        severity=main.severity,
        cluster=cluster,
        node=main.node,
        module=main.module,
        key=main.key,
    )


def trial(cluster: str, node: str) -> Message:
    """Of `safekit notify test`."""
    text = "This is a trial. Nothing happened; whoever reads this is told when something does."
    return Message(
        f"[info] {cluster}: {node}: a trial message", text, "info", cluster, node, "", f"trial:{time.time()}"
    )


def _why(change: dict[str, Any]) -> list[str]:
    lines = [str(change.get("decision", ""))]
    if change.get("before") != change.get("after"):
        lines.append(f"{change.get('before')} → {change.get('after')}")
    lines.append(f"rule: {change.get('rule', '')}")
    lines += [f"  {name}: {fact}" for name, fact in list(dict(change.get("facts") or {}).items())[:MAX_LINES]]
    lines += [f"not chosen: {other}" for other in list(change.get("considered") or ())[:MAX_LINES]]
    return lines + ([f"what would have prevented it: {change['prevent']}"] if change.get("prevent") else [])


def _course(incident: Incident) -> list[str]:
    """The last lines matter most: how it stands now."""
    events = incident.events[-MAX_LINES:]
    left = len(incident.events) - len(events)
    return ([f"({left} earlier decisions)"] if left else []) + [_told(event) for event in events]


def _told(event: Event) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event.wall_s))
    before, after = event.body.get("before"), event.body.get("after")
    change = f" ({before} → {after})" if before != after else ""
    return f"{clock} {event.node} {event.module or '-'}: {event.body.get('decision', '')}{change}"


def _advice(main: Event) -> list[str]:
    if not main.module:
        return [f"on {main.node}: safekit doctor"]
    return [f"safekit why {main.module} --on {main.node}", "safekit status --steps"]


def _line(text: str) -> str:
    """Of what comes from plugins and programs: no control characters in mail headers and on terminals."""
    return "".join(char if char.isprintable() else " " for char in text)
