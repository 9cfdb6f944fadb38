"""Loads one plugin by name. Whatever its code does while it is imported ends as an error that names its package."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any, Final

from stevedore.driver import DriverManager

from safekit.plugins.discovery import APPS, CHECKERS, KINDS, RESOURCES, WITNESSES, find, package, version
from safekit.plugins.in_hand import in_hand
from safekit_sdk import (
    App,
    AppConfig,
    Checker,
    CheckerConfig,
    Config,
    ConfigError,
    Plugin,
    PluginError,
    Resource,
    ResourceConfig,
    SafekitError,
    Witness,
    WitnessConfig,
    check_api,
)

_BASES: Final[dict[str, tuple[type[Plugin[Any]], type[Config]]]] = {
    CHECKERS: (Checker, CheckerConfig),
    RESOURCES: (Resource, ResourceConfig),
    APPS: (App, AppConfig),
    WITNESSES: (Witness, WitnessConfig),
}


def load(group: str, name: str) -> type[Any]:
    """The plugin's class: of the group's base class, with a configuration model, written for this SDK.
    ConfigError when the operator must install or remove a package, PluginError when the plugin is wrong."""
    entry = find(group, name)
    found = _load_entry(entry)
    _check_class(found, entry)
    try:
        check_api(found, name)
    except PluginError as error:
        raise PluginError(f"{error.message} ({_package(entry)})", hint=error.hint) from None
    return found  # type: ignore[no-any-return]


def load_object(group: str, name: str) -> Any:
    """What the entry point refers to, as it is: for commands and observers."""
    return _load_entry(find(group, name))


RAISED: Final = (Exception, SystemExit, KeyboardInterrupt)
"""What the code of a plugin may raise. A cancellation is none of it."""


@contextmanager
def calling(group: str, name: str, what: str) -> Iterator[None]:
    """Where core calls a plugin that it has loaded: whatever its code raises names it, its package and the line."""
    entry = find(group, name)
    try:
        with in_hand(_kind(entry)):
            yield
    except SafekitError:
        raise
    except RAISED as error:
        raise _defect(entry, what, error) from error


class _FreshDriver(DriverManager[Any]):
    """stevedore reads entry points through a disk cache that can be stale; this one is given the entry."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        super().__init__(entry.group, entry.name, on_load_failure_callback=_raise, on_missing_entrypoints_callback=None)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._entry]


def _raise(_manager: Any, _entry: EntryPoint, error: BaseException) -> None:
    raise error


def _load_entry(entry: EntryPoint) -> Any:
    """The object; a plugin's door: whatever its import raises, exits and interruptions too, is a PluginError."""
    try:
        with in_hand(_kind(entry)):
            return _FreshDriver(entry).extensions[0].plugin
    except ModuleNotFoundError as error:
        raise _needs(entry, error) from error
    except BaseException as error:
        raise _defect(entry, "cannot be loaded", error) from error


def _defect(entry: EntryPoint, what: str, error: BaseException) -> PluginError:
    return PluginError(
        f"the {_kind(entry)} {what}: {type(error).__name__}: {_first_line(error)}",
        where=_last_frame(error),
        hint=f"`pip install --upgrade {package(entry)}`; if it stays, tell the author of {package(entry)}",
    )


def _needs(entry: EntryPoint, error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"the {_kind(entry)} cannot be loaded: the Python module '{error.name}' is not installed",
        hint=f"`pip install --force-reinstall {package(entry)}` installs it with what it needs",
    )


def _check_class(found: Any, entry: EntryPoint) -> None:
    base, model = _BASES[entry.group]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(
            f"the {_kind(entry)} is not a {base.__name__} class: {entry.value} is {_describe(found)}",
            hint=f"its author derives it from safekit_sdk.{base.__name__}",
        )
    declared = getattr(found, "config_model", None)
    if not (isinstance(declared, type) and issubclass(declared, model)):
        raise PluginError(
            f"the {_kind(entry)} names no configuration model of its own",
            hint=f"its author writes `class {found.__name__}({base.__name__}[…])` with a {model.__name__}",
        )


def _kind(entry: EntryPoint) -> str:
    return f"{KINDS[entry.group]} '{entry.name}' ({_package(entry)})"


def _package(entry: EntryPoint) -> str:
    return f"package {package(entry)} {version(entry)}"


def _describe(found: Any) -> str:
    return f"the class {found.__qualname__}" if isinstance(found, type) else f"of type {type(found).__name__}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:500]


def _last_frame(error: BaseException) -> str:
    """The file and line that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
