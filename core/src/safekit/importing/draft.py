"""What comes out of an import: module files in the making, and how a cluster is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from safekit.config.edit import to_yaml
from safekit.importing.account import Finding
from safekit.plugins import discovery
from safekit_sdk import Duration

_GROUPS: Final = {
    "pipeline": (discovery.RESOURCES, discovery.APPS),
    "checkers": (discovery.CHECKERS,),
    "witness": (discovery.WITNESSES,),
}


@dataclass
class Draft:
    """One module file in the making. What is added says under which key it stands, for the account."""

    name: str
    content: dict[str, Any]

    def put(self, key: str, value: Any) -> str:
        """A key of the file, `heartbeat.interval` for one below another."""
        outer, _, inner = key.partition(".")
        if inner:
            self.content.setdefault(outer, {})[inner] = value
        else:
            self.content[outer] = value
        return f"{self.name}: {key}"

    def add(self, part: str, plugin: str, settings: Mapping[str, Any]) -> str:
        """A step or a checker, without the settings that are None."""
        entries = self.content.setdefault(part, [])
        entries.append({plugin: {key: value for key, value in settings.items() if value is not None}})
        return f"{self.name}: {part}[{len(entries) - 1}].{plugin}"

    def named(self, part: str) -> set[str]:
        """The resources that rules may name for sure: entries that were given a name."""
        entries = [item for entry in self.content.get(part, ()) for item in entry.items()]
        return {f"{plugin}.{settings['name']}" for plugin, settings in entries if "name" in settings}

    def text(self, header: str) -> str:
        return f"# {header}\n{to_yaml(self.content)}"

    def plugins(self) -> Iterator[tuple[str, str]]:
        for part in ("pipeline", "checkers"):
            for entry in self.content.get(part, ()):
                yield part, next(iter(entry))
        for plugin in self.content.get("witness") or ():
            yield "witness", plugin


def packages(drafts: Iterable[Draft]) -> list[str]:
    """Of the plugins that are installed, or as they are called by convention."""
    installed = {(info.group, info.name): info.package for info in discovery.discover()}
    found = set()
    for part, plugin in {named for draft in drafts for named in draft.plugins()}:
        groups = _GROUPS[part]
        known = (installed[group, plugin] for group in groups if (group, plugin) in installed)
        found.add(next(known, f"{discovery.PACKAGE_PREFIX[groups[0]]}{plugin}"))
    return sorted(found)


@dataclass(frozen=True)
class Conversion:
    """All that an import says."""

    format: str
    filename: str
    drafts: tuple[Draft, ...]
    findings: tuple[Finding, ...]
    commands: tuple[str, ...] = ()
    """What makes the cluster: its keys are made on the nodes, so that no file can bring them."""
    notes: tuple[str, ...] = field(default=())
    """What the source leaves open, and what holds here then."""


def plain_name(text: str, otherwise: str = "module") -> str:
    """What may be the name of a module."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:63]
    return name or otherwise


def ident(text: str) -> str | None:
    """What may be the name of a checker or step; None for the plugin's own choice."""
    name = re.sub(r"[^A-Za-z0-9_.:-]", "_", text)[:63]
    return name if re.match(r"[A-Za-z0-9_]", name) else f"_{name[:62]}" if name else None


def seconds(value: float) -> str:
    """A duration as settings have it."""
    return str(Duration(round(value, 6)))


def free_name(name: str, drafts: list[Draft]) -> str:
    """The name, with a number after it where another draft has it."""
    taken = {draft.name.lower() for draft in drafts}
    candidates = (name if number == 1 else f"{name[:58]}-{number}" for number in range(1, len(drafts) + 2))
    return next(candidate for candidate in candidates if candidate.lower() not in taken)
