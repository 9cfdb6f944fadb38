"""The `kvm-vm` resource."""

from safekit_resource_kvm_vm.config import KvmVmConfig
from safekit_resource_kvm_vm.resource import KvmVmResource

__all__ = ["KvmVmConfig", "KvmVmResource"]
