"""Tells people what happened in a cluster, from a process of its own without privileges."""
