"""The kernel's FUSE protocol, spoken on /dev/fuse itself: nothing to build, no library between."""
