"""One resource run by hand, without daemon or host: for another cluster manager, or an operator at night.

Nobody watches it, and nobody keeps another node from starting it: that is the caller's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from safekit_sdk.cgroup import module_cgroup
from safekit_sdk.errors import ConfigError, PluginError
from safekit_sdk.plugin import Context, check_api
from safekit_sdk.resource import Resource

GROUP: Final = "safekit.resources"
_PLACES: Final = {"state_dir": ("SAFEKIT_VAR", "/var/lib/safekit"), "run_dir": ("SAFEKIT_RUN", "/run/safekit")}
"""The variables that move all of safekit."""


def load(name: str) -> type[Resource[Any]]:
    """The class of a resource by its name in module files, from whatever package brings it. ConfigError when none does,
    PluginError when it is no resource of this SDK."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise ConfigError(
            f"no installed package has the resource '{name}'", hint=f"pip install safekit-resource-{name}"
        )
    cls = found[0].load()
    if not (isinstance(cls, type) and issubclass(cls, Resource)):
        raise PluginError(f"'{name}' ({found[0].value}) is no resource class")
    check_api(cls, name)
    return cls


def make(cls: type[Resource[Any]], settings: Mapping[str, Any], owner: str, **overrides: Any) -> Resource[Any]:
    """An instance with directories and a cgroup of its own, the same ones for the same `owner` (letters, digits, `_.-`)
    at every call. ConfigError when the settings are wrong. An override is any field of Context."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", owner):
        raise ConfigError(f"'{owner}' cannot be the owner of a resource", hint="letters, digits and _ . -")
    try:
        config = cls.config_model.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError("; ".join(_plain(one) for one in error.errors(include_url=False))) from None
    node = os.uname().nodename
    places = {key: Path(os.environ.get(name, usual), "by-hand", owner) for key, (name, usual) in _PLACES.items()}
    given = {"kind": "mirror", **places, **overrides}
    given.setdefault("cgroup", module_cgroup(node, f"by-hand-{owner}"))
    context = Context(**{"module": owner, "node": node, "name": cls.ident(config), **given})
    for directory in (context.state_dir, context.run_dir):
        for folder in (*reversed(directory.parents), directory):
            folder.mkdir(exist_ok=True, mode=0o700)
    return cls(config, context)


def _plain(finding: Any) -> str:
    key = ".".join(str(part) for part in finding["loc"])
    said = re.sub(r"^Value error, ", "", str(finding["msg"]))
    return f"{key}: {said}" if key else said
