"""`python -m safekit_sdk.testing.runner module:Class CONFIG_JSON VERB`: one call of a resource in a process of its own.

Prints one line of JSON, `{"state": …, "detail": …}` as the resource's status is after the call, or `{"error": …}` with
exit status 1. With `--die-at N` the process kills itself with SIGKILL at the N-th suspension of the call, or when the
call is done: what a crash of the host is to a resource.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from safekit_sdk.plugin import Context
from safekit_sdk.resource import Resource
from safekit_sdk.testing.suspension import Interrupted

VERBS = ("start", "stop", "force-stop", "promote", "demote", "force-demote", "status")
_PATHS = ("state_dir", "run_dir", "cgroup")
_FIELDS = ("module", "kind", "node", "name", "scope", *_PATHS, "settings")


def command(plugin: type[Resource[Any]], config: Any, context: Context, verb: str, die_at: int = 0) -> list[str]:
    """The argument list that performs the verb on an equal instance in another process."""
    given = {name: getattr(context, name) for name in _FIELDS}
    words = [sys.executable, "-m", "safekit_sdk.testing.runner", f"{plugin.__module__}:{plugin.__qualname__}"]
    words += [config.model_dump_json(exclude_unset=True), verb, "--context", json.dumps(given, default=str)]
    return [*words, "--die-at", str(die_at)] if die_at else words


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m safekit_sdk.testing.runner", description=__doc__)
    parser.add_argument("plugin", help="module:Class")
    parser.add_argument("config", help="the configuration, JSON")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--context", default="{}", help="fields of the context, JSON")
    parser.add_argument("--die-at", type=int, default=0, metavar="N", help="SIGKILL at the N-th suspension, or the end")
    given = parser.parse_args()
    resource = _make(given.plugin, given.config, json.loads(given.context))
    try:
        said = asyncio.run(_perform(resource, given.verb, given.die_at))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)
    print(json.dumps(said))


def _make(plugin: str, config_json: str, fields: dict[str, Any]) -> Resource[Any]:
    module, _, name = plugin.partition(":")
    cls = cast("type[Resource[Any]]", getattr(importlib.import_module(module), name))
    fields = {"module": "test", "kind": "mirror", "node": "node1", "name": "default", **fields}
    for path in _PATHS:
        if fields.get(path) is not None:
            fields[path] = Path(fields[path])
    return cls(cls.config_model.model_validate_json(config_json), Context(**fields))


async def _perform(resource: Resource[Any], verb: str, die_at: int) -> dict[str, str]:
    work = call(resource, verb)
    if die_at:
        await Interrupted(work, die_at, _die)
        _die()
    await work
    status = await resource.status()
    return {"state": status.state.value, "detail": status.detail}


def call(resource: Resource[Any], verb: str) -> Awaitable[Any]:
    """The coroutine of a verb."""
    if verb in ("stop", "force-stop"):
        return resource.stop(verb == "force-stop")
    if verb in ("demote", "force-demote"):
        return resource.demote(verb == "force-demote")
    work: Awaitable[Any] = getattr(resource, verb)()
    return work


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
