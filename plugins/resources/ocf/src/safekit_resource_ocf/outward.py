"""`safekit-ocf`: resources of ours as OCF agents, for a cluster that Pacemaker runs.

`safekit-ocf install DIRECTORY` writes the agents; `safekit-ocf NAME ACTION` is what they call.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safekit_resource_ocf.codes import Code
from safekit_resource_ocf.description import FieldKind, describe, fields
from safekit_sdk import Resource, ResourceConfig, ResourceState, SafekitError
from safekit_sdk.by_hand import load, make
from safekit_sdk.cgroup import remove_cgroup

AGENTS: Final = ("vip", "service")
_MODULE: Final = "safekit_resource_ocf.outward"
PROVIDER: Final = "safekit"
_AGENT: Final = """#!/bin/sh
# OCF resource agent, written by `safekit-ocf install`; to be written again after an upgrade.
[ "$1" != meta-data ] || exec cat <<'END-OF-METADATA'
{metadata}
END-OF-METADATA
exec {call} "$1"
"""
_SHARE: Final = 0.9
_TRUE: Final = frozenset(("yes", "true", "1", "on", "ja"))
_USAGE: Final = f"""usage: safekit-ocf install DIRECTORY    write {PROVIDER}/{{{",".join(AGENTS)}}} below it
       safekit-ocf NAME ACTION         start, stop, monitor, validate-all or meta-data"""


def main() -> None:
    sys.exit(_main(sys.argv[1:], os.environ))


def _main(argv: list[str], environment: Mapping[str, str]) -> int:
    if len(argv) != 2 or argv[0].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return Code.UNIMPLEMENTED
    try:
        if argv[0] == "install":
            return _install(Path(argv[1]))
        return _act(argv[0], argv[1], environment)
    except SafekitError as error:
        return _fail(Code.FAILED, str(error))


def _install(directory: Path) -> int:
    """An agent is a few lines of shell that name this interpreter. What it says of itself is in it: that is asked
    often, and also by users who may not run the interpreter."""
    for name in AGENTS:
        path = directory / PROVIDER / name
        call = shlex.join([sys.executable, "-P", "-m", _MODULE, name])
        text = _AGENT.format(metadata=describe(name, load(name)), call=call)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        print(path)
    return Code.OK


def _act(name: str, action: str, environment: Mapping[str, str]) -> int:
    cls = load(name)
    if action == "meta-data":
        print(describe(name, cls))
        return Code.OK
    if action not in ("start", "stop", "monitor", "status", "validate-all"):
        print(_USAGE, file=sys.stderr)
        return Code.UNIMPLEMENTED
    owner = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{name}-{environment.get('OCF_RESOURCE_INSTANCE', 'default')}")
    timeout_s = int(environment.get("OCF_RESKEY_CRM_meta_timeout") or 20000) / 1000 * _SHARE
    try:
        settings = _settings(cls, environment) | _limits(timeout_s)
        resource = make(cls, settings, owner, log=lambda line: print(line, file=sys.stderr))
    except PermissionError as error:
        return _fail(Code.PERMISSIONS, str(error))
    except SafekitError as error:
        return _fail(Code.CONFIGURATION, str(error))
    if action == "validate-all":
        found = cls.preflight(resource.config, "mirror")
        return _fail(Code.NOT_INSTALLED, "; ".join(found)) if found else Code.OK
    try:
        return asyncio.run(_perform(resource, action))
    finally:
        if resource.context.cgroup is not None:
            remove_cgroup(resource.context.cgroup)  # unless something runs in it


def _settings(cls: type[Resource[Any]], environment: Mapping[str, str]) -> dict[str, Any]:
    """What is not of the kind that the option has is left to its model to refuse."""
    found: dict[str, Any] = {}
    for field in fields(cls.config_model):
        text = environment.get(f"OCF_RESKEY_{field.name}", "")
        if text and field.kind is FieldKind.LIST:
            found[field.name] = shlex.split(text)
        elif text and field.kind is FieldKind.BOOLEAN:
            found[field.name] = text.lower() in _TRUE
        elif text:
            number = field.kind is FieldKind.INTEGER and re.fullmatch(r"-?\d{1,18}", text)
            found[field.name] = int(text) if number else text
    return found


def _limits(timeout_s: float) -> dict[str, str]:
    """The cluster's limit for the present action; of a stop a part is kept for one by force."""
    return {
        "start_timeout": f"{timeout_s:.3f}s",
        "stop_timeout": f"{timeout_s * 0.6:.3f}s",
        "force_stop_timeout": f"{timeout_s * 0.4:.3f}s",
    }


async def _perform(resource: Resource[Any], action: str) -> int:
    config: ResourceConfig = resource.config
    try:
        if action == "start":
            async with asyncio.timeout(config.start_timeout.seconds):
                await resource.start()
        elif action == "stop":
            await _stop(resource)
        else:
            return await _monitor(resource)
    except TimeoutError:
        return _fail(Code.FAILED, f"the {action} took too long")
    except SafekitError as error:
        return _fail(Code.FAILED, str(error))
    return Code.OK


async def _stop(resource: Resource[Any]) -> None:
    """Gracefully, then by force."""
    try:
        async with asyncio.timeout(resource.config.stop_timeout.seconds):
            await resource.stop(False)
    except (SafekitError, TimeoutError) as error:
        print(f"by force now: {str(error) or 'it took too long'}", file=sys.stderr)
        async with asyncio.timeout(resource.config.force_stop_timeout.seconds):
            await resource.stop(True)


async def _monitor(resource: Resource[Any]) -> int:
    status = await resource.status()
    if status.state is ResourceState.STARTED:
        return Code.OK
    if status.state is ResourceState.STOPPED:
        return Code.NOT_RUNNING
    return _fail(Code.FAILED, status.detail)


def _fail(code: Code, why: str) -> Code:
    """Said as Pacemaker wants it, which then shows it in the cluster's status."""
    print(f"{os.environ.get('OCF_EXIT_REASON_PREFIX', 'ocf-exit-reason:')}{' '.join(why.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
