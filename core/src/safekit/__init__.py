"""High availability for plain servers."""
