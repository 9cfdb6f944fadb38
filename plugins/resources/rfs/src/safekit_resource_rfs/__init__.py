"""The `rfs` resource: directories that are the same on two nodes."""
