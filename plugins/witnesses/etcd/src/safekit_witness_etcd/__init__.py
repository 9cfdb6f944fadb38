"""The `etcd` witness."""

from safekit_witness_etcd.config import EtcdConfig
from safekit_witness_etcd.witness import EtcdWitness

__all__ = ["EtcdConfig", "EtcdWitness"]
