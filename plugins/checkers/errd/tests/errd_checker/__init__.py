"""Tests of the errd checker, on real processes."""
