"""What `safekit plan` says of a virtual machine on one node, before anything changes there."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_kvm_vm import guard, qemu
from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.excluding import hidden
from safekit_resource_kvm_vm.libvirt import clean_environment
from safekit_resource_kvm_vm.sources import doubts
from safekit_sdk import ConfigError, Context, Examination
from safekit_sdk.procfs import describe
from safekit_sdk.replicated import is_covered

ASK_S: Final = 8.0
"""The first question after a boot lets libvirt try each QEMU."""
_DEVICES: Final = {"hostdev": "a device of this machine passed through", "shmem": "memory shared with other guests"}

_VIRTUALIZING: Final = frozenset({"vmx", "svm"})


@dataclass(frozen=True, slots=True)
class _Answer:
    ok: bool
    said: str


def examine(config: KvmVmConfig, context: Context, beside: Sequence[KvmVmConfig]) -> Examination:
    if any(other.domain == config.domain for other in beside):
        return Examination((f"two steps of this module start {config.domain}; one of them is enough",))
    asked = _virsh(config, "uri")
    if not asked.ok:
        mend = "`apt-get install libvirt-daemon-system qemu-system-x86`, and start libvirtd"
        return Examination((f"libvirt does not answer at {config.uri}: {asked.said}; {mend}",))
    definition, findings = _definition(config)
    findings += [*_running(config, context, definition), *hidden(config, context, definition)]
    if definition is None:
        return Examination((*findings, *_needed(config)))
    findings += [*_machine(config, definition), *_devices(definition), *_networks(config, definition)]
    findings += guard.misplaced(definition, config)
    if not is_covered(config.directory):
        findings += [*guard.missing(definition), *doubts(definition, config.directory)]
    return Examination(tuple(findings), tuple(_notes(definition)))


def _definition(config: KvmVmConfig) -> tuple[Definition | None, list[str]]:
    """Of the directory, or libvirt's, which the first start takes over. The secondary may have neither."""
    try:
        return Definition.read(config.definition), []
    except FileNotFoundError:
        pass
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        return None, [f"{config.definition}: {error}"]
    dumped = _virsh(config, "dumpxml", config.domain, "--inactive")
    if dumped.ok:
        return Definition.parse(dumped.said, f"libvirt's {config.domain}"), []
    if not config.directory.is_dir():
        return None, [f"{config.directory} is not there; `mkdir -p {config.directory}`"]
    return None, []


def _needed(config: KvmVmConfig) -> Iterator[str]:
    """Of a definition that is on the other node, as much as the module file says."""
    needs = config.needs
    if needs is None:
        return
    root = ET.Element("domain", type=needs.type)
    machine = ET.SubElement(ET.SubElement(root, "os"), "type")
    machine.attrib |= {"machine": needs.machine} if needs.machine else {}
    if needs.cpu:
        cpu = ET.SubElement(root, "cpu", mode="custom", match="exact")
        ET.SubElement(cpu, "model").text = needs.cpu
        for name in needs.features:
            ET.SubElement(cpu, "feature", policy="require", name=name)
    devices = ET.SubElement(root, "devices")
    for kind, names in (("bridge", needs.bridges), ("network", needs.networks)):
        for name in names:
            ET.SubElement(ET.SubElement(devices, "interface", type=kind), "source", {kind: name})
    wanted = Definition("", root)
    yield from _machine(config, wanted)
    yield from _networks(config, wanted)


def _running(config: KvmVmConfig, context: Context, definition: Definition | None) -> Iterator[str]:
    """A guest that this module has started is no trouble."""
    if (context.run_dir / f"kvm-vm.{config.name or config.domain}.started").exists():
        return
    if pids := qemu.find(config.domain):
        yield (
            f"{config.domain} runs here, and not by this module: {describe(pids)}; "
            f"`virsh shutdown {config.domain}` before the module is started"
        )
    others = qemu.writers(definition.images) - qemu.find(config.domain) if definition else ()
    if others:
        yield f"the disks of {config.domain} are open for writing by {describe(others)}; end that first"


def _machine(config: KvmVmConfig, definition: Definition) -> Iterator[str]:
    kind = definition.root.get("type", "")
    if kind == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        yield "there is no virtualization here: /dev/kvm is not there; switch it on in the firmware, `modprobe kvm`"
        return
    if kind not in ("kvm", "qemu"):
        yield f"the domain is of type '{kind}'; only QEMU's, with or without KVM, are known here"
        return
    wanted = definition.root.find("os/type")
    machine = wanted.get("machine", "") if wanted is not None else ""
    emulator = (definition.root.findtext("devices/emulator") or "").strip()
    if emulator and not Path(emulator).exists():
        yield f"{emulator} is not there; install it, or correct <emulator>"
        return
    options = ["--virttype", kind, *(["--machine", machine] if machine else [])]
    able = _virsh(config, "domcapabilities", *options)
    if not able.ok:
        yield f"QEMU here cannot be a '{machine}' with {kind}: {able.said}; install the other node's version"
    elif definition.root.find("cpu") is not None:
        yield from _cpu(config, definition, options)
    for place in (
        *definition.elements("os/kernel"),
        *definition.elements("os/initrd"),
        *definition.elements("os/loader"),
    ):
        if place.text and not Path(place.text.strip()).exists():
            yield f"<{place.tag}> names {place.text.strip()}, which is not on this node"


def _cpu(config: KvmVmConfig, definition: Definition, options: list[str]) -> Iterator[str]:
    cpu = definition.root.find("cpu")
    assert cpu is not None
    if cpu.get("mode", "custom") in ("host-passthrough", "host-model", "maximum"):
        return
    compared = _virsh(config, "hypervisor-cpu-compare", "/dev/stdin", "--error", *options, stdin=ET.tostring(cpu))
    if not compared.ok:
        yield f"this node's processor lacks what the guest asks for: {compared.said}; choose a CPU model of both nodes"


def _devices(definition: Definition) -> Iterator[str]:
    for tag, what in _DEVICES.items():
        if definition.root.find(f"devices/{tag}") is not None:
            yield f"<{tag}>: {what}, which does not move to the other node; remove it"
    for element in definition.elements("devices/filesystem"):
        yield f"a <filesystem> of type {element.get('type', 'mount')} is not replicated with the guest; remove it"
    if definition.root.find("devices/tpm/backend[@type='emulator']") is not None:
        yield "the state of <tpm> is kept by libvirt on one node only, and missing after a failover; remove it"


def _networks(config: KvmVmConfig, definition: Definition) -> Iterator[str]:
    for element in definition.elements("devices/interface"):
        kind, source = element.get("type", ""), element.find("source")
        name = "" if source is None else source.get(kind) or source.get("dev") or ""
        if kind == "bridge" and not Path(f"/sys/class/net/{name}/bridge").is_dir():
            yield f"there is no bridge '{name}' here; make it, with the same network behind it as on the other node"
        elif kind == "direct" and not Path(f"/sys/class/net/{name}").exists():
            yield f"there is no interface '{name}' here; the definition names it"
        elif kind == "network" and not _virsh(config, "net-info", name).ok:
            yield f"libvirt has no network '{name}' here; define it as on the other node"
        elif kind == "hostdev":
            yield "an <interface> is a card of this machine passed through, which does not move; use a bridge"


def _notes(definition: Definition) -> Iterator[str]:
    cpu = definition.root.find("cpu")
    mode = cpu.get("mode", "") if cpu is not None else ""
    if mode in ("host-passthrough", "host-model"):
        yield f"the guest sees this node's processor ({mode}): {_processor()}; compare it with the other node's"
    if definition.root.get("type") == "kvm" and has_no_virtualization(_cpuinfo()):
        yield (
            "the processor here has neither vmx nor svm: KVM runs guests that are made for it only, any other "
            "one stands still in its firmware; switch nested virtualization on where this machine is a guest itself"
        )
    if definition.root.get("type") == "qemu":
        yield "the domain is emulated without KVM (type='qemu'): slow, for tests"
    if not definition.has_agent and definition.root.find("devices/watchdog") is None:
        yield "neither a guest agent nor a watchdog: a hung guest is found only by a checker, as tcp or http"


def has_no_virtualization(cpuinfo: str) -> bool:
    """Of a processor whose flags are known: /dev/kvm may be there all the same, by KVM_PVM."""
    flags = next((line.split() for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    return flags is not None and not _VIRTUALIZING & set(flags)


def _processor() -> str:
    lines = _cpuinfo().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def _virsh(config: KvmVmConfig, *words: str, stdin: bytes = b"") -> _Answer:
    argv = ["virsh", "--quiet", "--connect", config.uri, *words]
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, timeout=ASK_S, check=False, env=clean_environment(), cwd="/"
        )
    except subprocess.TimeoutExpired:
        return _Answer(False, f"no answer within {ASK_S:g} s")
    except OSError as error:
        return _Answer(False, f"{error}")
    errors = done.stderr.decode(errors="replace").replace("error: ", "").strip()
    return _Answer(done.returncode == 0, done.stdout.decode(errors="replace") if done.returncode == 0 else errors)
