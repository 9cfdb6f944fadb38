"""Stands in for Pacemaker's programs, for an agent that calls them: `python pacemaker.py PROGRAM ARGUMENTS…`.

Attributes of this node are kept in two directories, of which one does not survive a reboot. What only a cluster of
Pacemaker could answer is refused: on standard error, by an exit code, and in a file that the resource reads.
Run by its path, without the package: the standard library only, as an agent may call it many times.
"""

from __future__ import annotations

import contextlib
import getopt
import os
import re
import sys
import tempfile
from pathlib import Path

NODE = "SAFEKIT_OCF_NODE"
REBOOT = "SAFEKIT_OCF_REBOOT"
FOREVER = "SAFEKIT_OCF_FOREVER"
REFUSED = "SAFEKIT_OCF_REFUSED"
SERVED = ("crm_attribute", "crm_master", "attrd_updater", "crm_node")
NOT_SERVED = (
    *("cibadmin", "crm_diff", "crm_error", "crm_failcount", "crm_mon", "crm_resource", "crm_rule", "crm_shadow"),
    *("crm_simulate", "crm_standby", "crm_ticket", "crm_verify", "crmadmin", "stonith_admin"),
)
PROGRAMS = (*SERVED, *NOT_SERVED)
USAGE, DISCONNECTED, NO_SUCH = 64, 102, 105
_LIMIT_BYTES = 65536
_WITH_VALUE = {
    "name": "-n --name --attr-name",
    "node": "-N --node",
    "update": "-v -U --update --attr-value",
    "lifetime": "-l --lifetime",
    "type": "-t --type",
    "default": "-d --default",
    "set": "-s --set-name",
    "delay": "--delay",
    "section": "-S",
}
_WITHOUT_VALUE = {
    "query": "-G --query",
    "delete": "-D --delete",
    "quiet": "-q -Q --quiet",
    "promotion": "-p --promotion",
    "private": "--private",
    "verbose": "-V",
}


class RefusedError(Exception):
    """What cannot be served here."""


def main(argv: list[str]) -> int:
    program, words = argv[0], argv[1:]
    try:
        if program not in SERVED:
            raise RefusedError("there is no Pacemaker here")
        return _name(words) if program == "crm_node" else _attribute(program, words)
    except (RefusedError, getopt.GetoptError) as refused:
        line = f"{' '.join((program, *words))}: not connected to a cluster: {refused}"[:500]
        print(line, file=sys.stderr)
        _tell(line)
        return DISCONNECTED


def _name(words: list[str]) -> int:
    if words not in (["-n"], ["--name"]):
        raise RefusedError("only the name of this node is known here (-n)")
    print(os.environ[NODE])
    return 0


def _attribute(program: str, words: list[str]) -> int:
    given = _options(program, words)
    name = given.get("name", "")
    if program == "crm_master" or "promotion" in given:
        name, given = f"master-{os.environ['OCF_RESOURCE_INSTANCE']}", {"lifetime": "reboot", **given}
    _check(given, name)
    path = _path(program, given, name)
    if "update" in given:
        _write(path, given["update"])
    elif "delete" in given:
        path.unlink(missing_ok=True)
    else:
        return _print(program, given, name, path)
    return 0


def _options(program: str, words: list[str]) -> dict[str, str]:
    """Of attrd_updater some short options mean something else."""
    with_value = {key: name for name, keys in _WITH_VALUE.items() for key in keys.split()}
    without = {key: name for name, keys in _WITHOUT_VALUE.items() for key in keys.split()}
    if program == "attrd_updater":
        without |= {"-Q": "query", "-p": "private"}
        with_value |= {"-d": "delay"}
    short = "".join(f"{key[1]}:" for key in with_value if len(key) == 2) + "".join(k[1] for k in without if len(k) == 2)
    long = [f"{key[2:]}=" for key in with_value if key[:2] == "--"] + [key[2:] for key in without if key[:2] == "--"]
    options, rest = getopt.gnu_getopt(words, short, long)
    if [word for word in rest if not re.fullmatch(r"-?\d+\w*", word)]:
        raise RefusedError(f"'{rest[0]}' is not understood")
    return {(with_value | without)[key]: value for key, value in options}


def _check(given: dict[str, str], name: str) -> None:
    if given.get("node", os.environ[NODE]) not in (os.environ[NODE], os.uname().nodename):
        raise RefusedError(f"attributes of another node ({given['node']}) are not known here")
    if given.get("type", "nodes") not in ("nodes", "status"):
        raise RefusedError(f"what belongs to the whole cluster ({given['type']}) is not kept here")
    if given.get("lifetime", "reboot") not in ("reboot", "forever"):
        raise RefusedError(f"there is no lifetime '{given['lifetime']}'")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:#-]{0,199}", name):
        raise RefusedError(f"'{name}' cannot be the name of an attribute")


def _path(program: str, given: dict[str, str], name: str) -> Path:
    brief = Path(os.environ[REBOOT], name)
    lasting = Path(os.environ[FOREVER], name)
    if program == "attrd_updater" or given.get("type") == "status" or given.get("lifetime") == "reboot":
        return brief
    asks = not {"update", "delete"} & given.keys()
    return brief if asks and "lifetime" not in given and not lasting.exists() else lasting


def _write(path: Path, value: str) -> None:
    """As Pacemaker: `value++` and `value+=3` count."""
    counted = re.fullmatch(rf"{re.escape(path.name)}(\+\+|\+=(-?\d+))", value)
    if counted:
        present = _read(path) or "0"
        value = str((int(present) if re.fullmatch(r"-?\d+", present) else 0) + int(counted[2] or 1))
    if len(value.encode()) > _LIMIT_BYTES:
        raise RefusedError("the value is too long")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
        file.write(value)
    Path(file.name).replace(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _print(program: str, given: dict[str, str], name: str, path: Path) -> int:
    value = _read(path)
    if value is None:
        value = given.get("default")
    if value is None:
        print(f"Error performing operation: no such attribute: {name}", file=sys.stderr)
        return NO_SUCH
    if "quiet" in given:
        print(value)
    elif program == "attrd_updater":
        print(f'name="{name}" host="{os.environ[NODE]}" value="{value}"')
    else:
        scope = "status" if path.parent == Path(os.environ[REBOOT]) else "nodes"
        print(f"scope={scope}  name={name} value={value}")
    return 0


def _tell(line: str) -> None:
    path = Path(os.environ.get(REFUSED, os.devnull))
    with contextlib.suppress(OSError):
        if not path.exists() or path.stat().st_size < _LIMIT_BYTES:
            with path.open("a") as file:
                print(line.replace("\n", " "), file=file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
