"""Metrics of a node for Prometheus, from a process of its own without privileges."""
