"""The application `kvm`."""

from safekit_kvm.app import KvmApp, KvmConfig

__all__ = ["KvmApp", "KvmConfig"]
