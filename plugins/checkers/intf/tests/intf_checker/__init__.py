"""Tests of the intf checker, with interfaces of their own."""
