"""A client at a fixed pace: what the users of the cluster would have seen."""
