"""The `ping` witness."""

from safekit_witness_ping.witness import PingConfig, PingWitness

__all__ = ["PingConfig", "PingWitness"]
