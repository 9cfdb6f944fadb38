"""`safekit kvm …`: guests that safekit manages, or did."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated, Final

import typer

from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import clean_environment
from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.replicated import is_replicated

ASK_S: Final = 30.0

app = typer.Typer(help="Virtual machines: give one back to libvirt.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps the only command one of a group."""


@app.command("give-back")
def give_back(
    definition: Annotated[Path, typer.Argument(help="The definition beside the disks: /srv/vm1/vm1.xml.")],
    uri: Annotated[str, typer.Option(help="Where libvirt is asked.")] = "qemu:///system",
) -> None:
    """After its module was removed: libvirt has the guest again on this node, started at boot if it was before."""
    try:
        found = Definition.read(definition)
    except FileNotFoundError:
        raise ConfigError(f"{definition} is not there", hint="say where the definition is") from None
    if is_replicated(definition.parent):
        raise RefusedError(
            f"{definition.parent} is replicated now", hint="stop and remove the module on both nodes first"
        )
    if qemu.find(found.name):
        raise RefusedError(f"{found.name} runs on this node", hint="shut it down first")
    _virsh(uri, "define", str(definition))
    if found.was_autostarted:
        _virsh(uri, "autostart", found.name)
    print(f"libvirt has {found.name} again{', and starts it at boot' if found.was_autostarted else ''}")


def _virsh(uri: str, *words: str) -> None:
    argv = ["virsh", "--quiet", "--connect", uri, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=ASK_S, check=False, env=clean_environment())
    if done.returncode != 0:
        raise ConfigError(
            f"virsh {words[0]}: {done.stderr.strip()}", hint=f"does libvirt run here? `virsh -c {uri} list`"
        )
