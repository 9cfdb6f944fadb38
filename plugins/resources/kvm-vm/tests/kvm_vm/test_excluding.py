"""`exclude` of rfs keeps a name from the other node; what a guest cannot do without must not be among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from safekit_resource_kvm_vm import KvmVmConfig
from safekit_resource_kvm_vm.definition import Definition
from safekit_resource_kvm_vm.excluding import hidden

from safekit_sdk.testing import a_context

from .libvirtd import machine


def found(tmp_path: Path, *patterns: str, replicated: str = "vm", plugin: str = "rfs") -> list[str]:
    """What is said of a guest `vm1` in the directory `vm` below tmp_path."""
    folder = tmp_path / "vm"
    folder.mkdir(exist_ok=True)
    definition = Definition.parse(machine(folder, "vm1"), "test")
    config = KvmVmConfig.model_validate({"domain": "vm1", "directory": str(folder)})
    step = (plugin, {"directory": str(tmp_path / replicated), "exclude": patterns})
    return list(hidden(config, a_context(tmp_path, pipeline=(step, ("kvm-vm", {}))), definition))


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (".*", "the record of the last start"),
        ("*.claim", "the record of the last start"),
        (".vm1.claim", "the record of the last start"),
        ("*.memory.*", "the memory of a guest that moves"),
        ("*.part", "the memory of a guest that moves"),
        (".vm1.memory.[0-9]*", "the memory of a guest that moves"),
        ("*e", "the memory of a guest that moves"),
        ("*.xml", "the guest's definition"),
        ("*.img", "vm1.img, which the guest writes,"),
    ],
)
def test_a_pattern_that_hides_what_the_guest_needs_is_named_with_what_it_hides(
    tmp_path: Path, pattern: str, what: str
) -> None:
    [said] = found(tmp_path, "*.iso", pattern, "cache/*")
    assert said.startswith(f"`exclude: {pattern}` of rfs keeps {what} from the other node")


def test_a_pattern_of_other_names_is_none_of_its_business(tmp_path: Path) -> None:
    assert found(tmp_path, "*.iso", "*.tmp", ".vm2.*", "cache/.vm1.claim", "vm1") == []


def test_a_path_counts_from_the_directory_that_is_replicated(tmp_path: Path) -> None:
    assert len(found(tmp_path, "vm/.vm1.claim", "v*/*.img", "vm", replicated=".")) == 3
    assert found(tmp_path, "vm/.vm1.claim") == []


def test_only_the_exclusion_of_its_own_directory_counts(tmp_path: Path) -> None:
    assert found(tmp_path, "*", replicated="elsewhere") == []
    assert found(tmp_path, "*", plugin="scripts") == []
