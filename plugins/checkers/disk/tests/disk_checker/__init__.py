"""Tests of the disk checker, on file systems that they make."""
