"""What is installed, read from the packages' metadata. No plugin code runs here."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Final

from safekit_sdk import ConfigError

CHECKERS: Final = "safekit.checkers"
RESOURCES: Final = "safekit.resources"
APPS: Final = "safekit.apps"
WITNESSES: Final = "safekit.witnesses"
COMMANDS: Final = "safekit.commands"
HOOKS: Final = "safekit.hooks"
PANELS: Final = "safekit.panels"
GROUPS: Final = (CHECKERS, RESOURCES, APPS, WITNESSES, COMMANDS, HOOKS, PANELS)
PACKAGE_PREFIX: Final = {
    CHECKERS: "safekit-checker-",
    RESOURCES: "safekit-resource-",
    APPS: "safekit-",
    WITNESSES: "safekit-witness-",
    COMMANDS: "safekit-",
    HOOKS: "safekit-",
    PANELS: "safekit-",
}
"""How the package of a plugin is called by convention."""
KINDS: Final = {
    CHECKERS: "checker",
    RESOURCES: "resource",
    APPS: "app",
    WITNESSES: "witness",
    COMMANDS: "command",
    HOOKS: "observer",
    PANELS: "panel",
}
_SDK: Final = "safekit-sdk"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One entry point and what its package says of itself."""

    group: str
    name: str
    value: str
    """`module:attribute`."""
    package: str
    version: str
    summary: str = ""
    requires_sdk: str = ""
    """The version condition on safekit-sdk; empty when there is none."""
    docs_url: str = ""


def _installed(group: str) -> EntryPoints:
    """Of all packages, read again when one was installed or removed: it takes so long that a module file would."""
    return _read(group, tuple((place, _changed_ns(place)) for place in sys.path))


def _changed_ns(place: str) -> int:
    try:
        return Path(place or ".").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=len(GROUPS))
def _read(group: str, _places: tuple[tuple[str, int], ...]) -> EntryPoints:
    return entry_points(group=group)


def discover() -> list[PluginInfo]:
    """Every plugin of every group, sorted by group and name."""
    found = [_info(entry) for group in GROUPS for entry in _installed(group)]
    return sorted(found, key=lambda info: (GROUPS.index(info.group), info.name, info.package))


def names(*groups: str) -> list[str]:
    """The names that are installed in these groups."""
    return sorted({entry.name for group in groups for entry in _installed(group)})


def find(group: str, name: str) -> EntryPoint:
    """The one entry point of that name; ConfigError says which package to install, or which two collide."""
    found = list(_installed(group).select(name=name))
    if not found:
        raise missing((group,), name)
    if len(found) > 1:
        packages = sorted(package(entry) for entry in found)
        raise ConfigError(
            f"the {KINDS[group]} '{name}' is provided by {len(found)} packages: {', '.join(packages)}",
            hint=f"remove all but one: pip uninstall {packages[-1]}",
        )
    return found[0]


def distribution(name: str) -> Distribution:
    """The installed package of that name, or the one that brings the plugin of that name; ConfigError when there is
    none, or several."""
    found = {package(entry): entry.dist for group in GROUPS for entry in _installed(group) if entry.dist is not None}
    brings = {package(entry) for group in GROUPS for entry in _installed(group) if entry.name == name}
    chosen = [name] if name in found else sorted(brings & found.keys())
    if len(chosen) == 1:
        return found[chosen[0]]
    known = chosen or difflib.get_close_matches(name, found, n=3, cutoff=0.6)
    what = f"'{name}' is brought by several packages" if chosen else f"no package '{name}' with a plugin is installed"
    meant = f"say which: {' or '.join(known)}" if known else "`safekit plugins list` names them"
    raise ConfigError(what, hint=meant)


def readme(name: str) -> str:
    """The documentation in a package's own metadata; ConfigError where it has none."""
    dist = distribution(name)
    text = dist.metadata.get_payload() or dist.metadata["Description"] or ""  # type: ignore[attr-defined]
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"the package {dist.name} brings no documentation", hint="ask its author for a README")
    return text.strip()


def missing(groups: tuple[str, ...], name: str) -> ConfigError:
    """The error for a name that no installed package provides in any of these groups."""
    kinds = " or ".join(KINDS[group] for group in groups)
    installs = " or ".join(f"`pip install {PACKAGE_PREFIX[group]}{name}`" for group in groups)
    installed = names(*groups)
    near = difflib.get_close_matches(name, installed, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(repr(other) for other in near)}? If not, " if near else ""
    known = f"; installed: {', '.join(installed)}" if installed and not near else ""
    return ConfigError(f"there is no {kinds} '{name}' on this node", hint=f"{meant}{installs}{known}")


def package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "a package without metadata"


def version(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist else "?"


def _info(entry: EntryPoint) -> PluginInfo:
    base = PluginInfo(entry.group, entry.name, entry.value, package(entry), version(entry))
    if entry.dist is None:
        return base
    metadata = entry.dist.metadata
    return PluginInfo(
        base.group,
        base.name,
        base.value,
        base.package,
        base.version,
        summary=metadata["Summary"] or "",
        requires_sdk=_required_sdk(entry.dist),
        docs_url=next(_docs_urls(metadata.get_all("Project-URL") or []), ""),
    )


def _required_sdk(dist: Distribution) -> str:
    for requirement in dist.requires or []:
        name, _, condition = requirement.partition(_SDK)
        if not name and condition[:1] in ("", " ", "<", ">", "=", "!", "~", "(", ";"):
            return condition.partition(";")[0].strip(" ()")
    return ""


def _docs_urls(entries: list[str]) -> Iterator[str]:
    """`Project-URL: Documentation, https://…`"""
    for entry in entries:
        label, _, url = entry.partition(",")
        if label.strip().lower() in {"documentation", "docs"}:
            yield url.strip()
