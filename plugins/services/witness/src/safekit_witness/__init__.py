"""The witness `lease`: the plugin that nodes load, and the server that it asks."""

from safekit_witness.plugin import LeaseConfig, LeaseWitness

__all__ = ["LeaseConfig", "LeaseWitness"]
