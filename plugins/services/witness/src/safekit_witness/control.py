"""The operator's word to the running witness: a line of JSON each way on a unix socket, 0600 in a directory 0700."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from safekit_sdk import ConfigError, PeerError, SafekitError

PATIENCE_S: Final = 1.0
"""How long the server listens to one operator; it serves nobody else meanwhile."""
ANSWER_S: Final = 15.0
MAX_ASK_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 256 << 20
_LONGEST_PATH_BYTES: Final = 100

Cluster = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$")]


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    v: Literal[1] = 1
    op: Literal["admit", "expel", "show"]
    cluster: Cluster | None = None
    public_key: Annotated[str, StringConstraints(min_length=40, max_length=40)] | None = None
    forget: bool = False


class Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    v: Literal[1] = 1
    result: Any = None
    error: str = ""
    hint: str = ""


class ControlSocket:
    """The server's end; one operator at a time."""

    def __init__(self, path: Path, perform: Callable[[Ask], Any]) -> None:
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise ConfigError(f"the path {path} is too long for a unix socket", hint="choose a shorter --dir")
        self._path = path
        self._perform = perform
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(8)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def serve(self) -> None:
        """Answer one operator, who has PATIENCE_S."""
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                line = connection.makefile("rb").readline(MAX_ASK_BYTES)
                connection.sendall(self._answer(line).model_dump_json().encode() + b"\n")

    def _answer(self, line: bytes) -> Outcome:
        try:
            return Outcome(result=self._perform(Ask.model_validate_json(line)))
        except ValidationError as error:
            return Outcome(error=f"not understood: {error.errors()[0]['msg']}")
        except SafekitError as error:
            return Outcome(error=error.message, hint=error.hint)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def ask(path: Path, question: Ask) -> Any:
    """What the running witness answers; FileNotFoundError or ConnectionRefusedError when none runs. ConfigError when
    it says no, PeerError when it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(path))
        try:
            connection.sendall(question.model_dump_json().encode() + b"\n")
            line = connection.makefile("rb").readline(MAX_ANSWER_BYTES)
            outcome = Outcome.model_validate_json(line)
        except (OSError, ValidationError):
            raise PeerError("the witness runs but does not answer", hint="look at its log; restart it") from None
    if outcome.error:
        raise ConfigError(outcome.error, hint=outcome.hint)
    return outcome.result
