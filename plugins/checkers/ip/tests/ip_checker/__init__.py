"""Tests of the ip checker, on a wire with another machine."""
