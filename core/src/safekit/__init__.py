"""High availability for plain servers."""

__version__ = "0.1.0"
