"""What the lab says when it cannot do what was asked."""

from collections.abc import Sequence


class LabError(Exception):
    """The message says what is wrong and what to do about it."""


class CommandError(LabError):
    """A command in a node ended with an exit code other than 0."""

    def __init__(self, node: str, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        said = (stderr or stdout).strip()[-2000:]
        super().__init__(f"{node}: {' '.join(argv)}: exit code {returncode}" + (f": {said}" if said else ""))
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
