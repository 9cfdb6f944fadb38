"""What a node remembers: its durable facts (`facts`), and the history of inputs and decisions (`history`)."""

from safekit.journal.facts import FactStore
from safekit.journal.history import Entry, History, Query, query_history, walk_back, write_copy
from safekit.journal.why import explain, explain_from

__all__ = [
    "Entry",
    "FactStore",
    "History",
    "Query",
    "explain",
    "explain_from",
    "query_history",
    "walk_back",
    "write_copy",
]
