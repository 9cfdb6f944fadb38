"""A cluster in one file, for whoever helps: what its nodes say of themselves, what they remember, how they are set up.
Secrets are taken out of it on the node that has them."""

from safekit.snapshot.archive import Snapshot, compose, history_file, is_snapshot
from safekit.snapshot.part import Gathered, make_part

__all__ = ["Gathered", "Snapshot", "compose", "history_file", "is_snapshot", "make_part"]
