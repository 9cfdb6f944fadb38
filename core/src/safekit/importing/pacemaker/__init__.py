"""A Pacemaker CIB: groups and primitives become mirrors, clones become light modules, stonith becomes a fence step."""
