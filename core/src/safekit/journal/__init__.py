"""What a node remembers: its durable facts (`facts`), and the history of inputs and decisions (`history`)."""

from safekit.journal.facts import FactStore
from safekit.journal.history import Entry, History, Query

__all__ = ["Entry", "FactStore", "History", "Query"]
