"""Tests of the dns checker, and the server that they ask."""
