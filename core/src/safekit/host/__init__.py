"""One process per module: its plugins, its checkers' schedule, its resource pipeline."""
