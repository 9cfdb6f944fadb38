"""`safekit kvm …`: guests that safekit manages, or did."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from safekit_resource_kvm_vm import qemu
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.libvirt import clean_environment
from safekit_resource_kvm_vm.making import Wanted
from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.replicated import is_replicated

ASK_S: Final = 30.0
SYSTEM: Final = "qemu:///system"

Uri = Annotated[str, typer.Option(help="Where libvirt is asked.")]

app = typer.Typer(help="Virtual machines: make one of an image, give one back to libvirt.", no_args_is_help=True)


@app.command("define")
def define(
    name: Annotated[str, typer.Argument(help="What libvirt is to call it.")],
    image: Annotated[Path, typer.Option(help="Its disk, raw or qcow2, in the directory that is to be replicated.")],
    bridge: Annotated[str, typer.Option(help="Of this machine, that its card is on.")],
    memory: Annotated[int, typer.Option(help="In MiB.", min=16)] = 2048,
    processors: Annotated[int, typer.Option(min=1, max=512)] = 2,
    emulated: Annotated[bool, typer.Option("--emulated", help="Without KVM: slow, for tests.")] = False,
    uri: Uri = SYSTEM,
) -> None:
    """Make a domain of libvirt of a disk image, for `safekit module add --app kvm`. Nothing is started."""
    if not image.is_absolute():
        raise ConfigError(f"'{image}' is not an absolute path", hint="begin it with /")
    if name in _virsh(uri, "list", "--all", "--name").split():
        raise ConfigError(f"libvirt has a domain '{name}' already", hint="`virsh edit` changes it")
    made = Wanted(name, image, memory, processors, bridge, emulated).definition()
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(made.text)
        file.flush()
        _virsh(uri, "define", "--validate", file.name)
    print(f"libvirt has {name}; `safekit module add {name} --app kvm` makes it a mirror")


@app.command("give-back")
def give_back(
    definition: Annotated[Path, typer.Argument(help="The definition beside the disks: /srv/vm1/vm1.xml.")],
    uri: Uri = SYSTEM,
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


def _virsh(uri: str, *words: str) -> str:
    argv = ["virsh", "--quiet", "--connect", uri, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=ASK_S, check=False, env=clean_environment())
    if done.returncode != 0:
        raise ConfigError(
            f"virsh {words[0]}: {done.stderr.strip()}", hint=f"does libvirt run here? `virsh -c {uri} list`"
        )
    return done.stdout
