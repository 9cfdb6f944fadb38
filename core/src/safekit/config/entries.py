"""Steps and checkers of a module: the plugin found and loaded, its settings checked by its own model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from safekit.config.errors import ConfigErrors, Findings
from safekit.config.problems import validate
from safekit.config.text import Document, Path
from safekit.plugins import RAISED, discovery, load
from safekit.plugins.in_hand import in_hand
from safekit_sdk import App, ConfigError, Context, Ident, Plugin, PluginError, SafekitError

STEP_GROUPS: Final = (discovery.RESOURCES, discovery.APPS)
CHECKER_GROUPS: Final = (discovery.CHECKERS,)
_IDENT: Final = TypeAdapter(Ident)


@dataclass(frozen=True, slots=True)
class Entry:
    """One step or checker with valid settings."""

    plugin: str
    group: str
    package: str
    version: str
    cls: type[Plugin[Any]]
    config: Any
    ident: str
    where: str
    """`file:line:column` of the plugin's name, or the app that brought it."""

    @property
    def resource(self) -> str:
        return f"{self.plugin}.{self.ident}"

    def given(self) -> dict[str, Any]:
        """The settings as they were written: a model may tell a default from the same value given."""
        return dict(self.config.model_dump(mode="json", by_alias=True, exclude_unset=True))

    def effective(self) -> dict[str, Any]:
        """Every setting with its value."""
        return dict(self.config.model_dump(mode="json", by_alias=True))


def read_entries(document: Document, key: str, groups: tuple[str, ...], findings: Findings) -> list[Entry]:
    """The valid entries of `pipeline:` or `checkers:`; what is wrong with the others goes to the findings."""
    items = document.value.get(key) if isinstance(document.value, dict) else None
    entries = []
    for index, item in enumerate(items if isinstance(items, list) else []):
        try:
            entries.append(_read_entry(document, (key, index), item, groups))
        except SafekitError as error:
            findings.add(error)
    return entries


def read_witness(document: Document, findings: Findings) -> Entry | None:
    item = document.value.get("witness") if isinstance(document.value, dict) else None
    if item is None:
        return None
    try:
        return _read_entry(document, ("witness",), item, (discovery.WITNESSES,))
    except SafekitError as error:
        findings.add(error)
        return None


def check_unique(entries: Iterable[Entry], findings: Findings) -> None:
    """Two entries of one class must have different names: rules and the status could not tell them apart."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.resource, entry)
        if first is not entry:
            findings.add(
                ConfigError(
                    f"'{entry.resource}' is here twice; first at {first.where}",
                    where=entry.where,
                    hint="remove one, or give one another `name:`",
                )
            )


def bring(entry: Entry, context: Context) -> tuple[list[Entry], tuple[str, ...]]:
    """The checkers and rules that an app brings."""
    with door(entry, "its checkers or rules cannot be had"):
        app: App[Any] = entry.cls(entry.config, context)  # type: ignore[assignment]
        items, rules = [dict(item) for item in app.checkers()], tuple(app.rules())
        document = Document(f"app '{entry.plugin}'", "", {"checkers": items})
    findings = Findings()
    brought = read_entries(document, "checkers", CHECKER_GROUPS, findings)
    if findings.errors:
        first = findings.errors[0]
        message = f"the app '{entry.plugin}' brings a checker that cannot be used: {first.message}"
        raise type(first)(message, where=entry.where, hint=first.hint)
    return brought, rules


@contextmanager
def door(entry: Entry, what: str) -> Iterator[None]:
    """Where core calls a plugin: whatever its code raises names the plugin, its package and the place in the file."""
    try:
        with in_hand(f"{discovery.KINDS[entry.group]} '{entry.plugin}' (package {entry.package} {entry.version})"):
            yield
    except SafekitError as error:
        raise _placed(error, entry.where) from error
    except RAISED as error:
        raise PluginError(
            f"plugin '{entry.plugin}' (package {entry.package} {entry.version}): {what}: "
            f"{type(error).__name__}: {str(error)[:500]}",
            where=entry.where,
            hint=f"tell the author of {entry.package}",
        ) from error


def _read_entry(document: Document, path: Path, item: Any, groups: tuple[str, ...]) -> Entry:
    name = _single(document, path, item)
    path = (*path, name)
    where = document.where(path, key=True)
    try:
        found = discovery.find(_group(name, groups), name)
        cls = load(found.group, name)
    except SafekitError as error:
        raise _placed(error, where) from error
    bare = Entry(name, found.group, discovery.package(found), discovery.version(found), cls, None, "", where)
    with door(bare, "its settings cannot be checked"):
        config = validate(cls.config_model, document, path)
    return _named(replace(bare, config=config))


def _single(document: Document, path: Path, item: Any) -> str:
    """The plugin's name of `- plugin: {settings}`."""
    where = document.where(path)
    if isinstance(item, str):
        raise ConfigError(f"'{item}' is not a mapping", where=where, hint=f"write `- {item}: {{}}`")
    if not isinstance(item, dict) or not item:
        raise ConfigError("an entry must be `plugin: {settings}`", where=where, hint="as `- vip: {address: 10.0.0.9}`")
    names: list[str] = list(item)
    if len(names) > 1:
        raise ConfigError(
            f"one entry is one plugin, but here are {', '.join(repr(name) for name in names[:5])}",
            where=document.where((*path, names[1]), key=True),
            hint=f"indent the settings of '{names[0]}' further, or begin a new entry with '-'",
        )
    return names[0]


def _group(name: str, groups: tuple[str, ...]) -> str:
    """The one group that provides the name."""
    providing = [group for group in groups if name in discovery.names(group)]
    if not providing:
        raise discovery.missing(groups, name)
    if len(providing) > 1:
        packages = [discovery.package(discovery.find(group, name)) for group in providing]
        raise ConfigError(
            f"'{name}' is a resource of {packages[0]} and an app of {packages[1]}",
            hint=f"remove one: pip uninstall {packages[1]}",
        )
    return providing[0]


def _named(entry: Entry) -> Entry:
    """With its identifier, after a check that host and daemon will read the same settings."""
    with door(entry, "its settings cannot be passed on"):
        if entry.cls.config_model.model_validate(entry.given()) != entry.config:
            raise ValueError("written as JSON and read again they differ")
    with door(entry, "its identifier cannot be had"):
        ident = entry.cls.ident(entry.config)
    try:
        ident = _IDENT.validate_python(ident)
    except ValidationError:
        raise ConfigError(
            f"'{str(ident)[:80]}' cannot be the name of a {discovery.KINDS[entry.group]}",
            where=entry.where,
            hint="give it one with `name:`: letters, digits, _ . : -, at most 63",
        ) from None
    return replace(entry, ident=ident)


def _placed(error: SafekitError, where: str) -> SafekitError:
    """The same error with its place in the module file; a place in a plugin's code becomes part of the message."""
    if isinstance(error, ConfigErrors) or error.where == where:
        return error
    inside = f" (at {error.where})" if error.where else ""
    return type(error)(f"{error.message}{inside}", where=where, hint=error.hint)
