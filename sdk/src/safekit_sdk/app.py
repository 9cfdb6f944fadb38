"""An app knows one application: how to start, stop and check it, and what a module for it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from safekit_sdk.config import AppConfig
from safekit_sdk.plugin import ModuleKind
from safekit_sdk.resource import Resource

A = TypeVar("A", bound=AppConfig)
Entry = Mapping[str, Mapping[str, Any]]
"""One step or checker as a module file writes it: `{"http": {"url": "http://127.0.0.1/"}}`."""


@dataclass(frozen=True, slots=True)
class ModuleRequest:
    """What the operator gave to `safekit module add NAME --app APP`."""

    name: str
    kind: ModuleKind
    vips: tuple[str, ...] = ()
    """Virtual addresses with prefix length: `10.0.0.100/24`."""
    port: int | None = None
    sticky: bool = False
    """Farm: a client address always reaches the same server."""
    options: Mapping[str, str] = field(default_factory=dict)


class App(Resource[A]):
    """A step of the pipeline like any resource, which also brings checkers, rules and a module file."""

    def checkers(self) -> tuple[Entry, ...]:
        """Checkers that come with the app; one in the module file of the same class and name replaces it."""
        return ()

    def rules(self) -> tuple[str, ...]:
        """Rules that come with the app; one in the module file with the same label replaces it."""
        return ()

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        """The content of a module file that suits this request, for `safekit module add`.
        ConfigError when something is missing that cannot be found out."""
        raise NotImplementedError
