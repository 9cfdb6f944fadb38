"""The one place that runs nft, in the network namespace of the caller."""

import subprocess

from .error import LabError

_TIMEOUT_S = 10.0


def load(ruleset: str) -> None:
    """Apply the text as one transaction."""
    done = subprocess.run(
        ["nft", "-f", "-"], input=ruleset, text=True, capture_output=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise LabError(f"nft refused the lab's rules (does this kernel have nf_tables for bridges?): {done.stderr}")
