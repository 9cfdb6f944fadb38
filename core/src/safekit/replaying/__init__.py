"""A stretch of a node's history once more through the engine, as it was or under other settings: what would not have
happened, what else would, and whether that would have been right."""
