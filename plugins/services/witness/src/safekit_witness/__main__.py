"""`python -m safekit_witness`: the command."""

from safekit_witness.cli import main

main()
