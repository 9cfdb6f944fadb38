"""Guarded drills on a real cluster. What harms a node runs there, and undoes itself whatever becomes of the rest."""
