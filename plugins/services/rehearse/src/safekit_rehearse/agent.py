"""What `safekit rehearse` asks of the node that a drill is about: one request, one answer. safekitd there starts it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from pydantic import TypeAdapter, ValidationError

from safekit_rehearse.guard import GO, GO_S, READY, RECORD, Record, holder
from safekit_rehearse.harm import COMMAND_S, Order
from safekit_rehearse.harms import HARMS
from safekit_sdk import ConfigError, RefusedError
from safekit_sdk.control import error_body

RUN: Final = "SAFEKIT_RUN"
_OBJECT: Final = TypeAdapter(dict[str, Any])


def main() -> None:
    try:
        request = _OBJECT.validate_json(sys.stdin.buffer.read())
        work = WORK.get(str(request.get("do")))
        if work is None:
            raise ConfigError("the agent was asked for something that it does not know", hint="one version everywhere")
        answer = {"result": work(request)}
    except Exception as error:  # the top of a request
        answer = {"error": error_body(error).model_dump()}
    print(json.dumps(answer))


def _order(request: dict[str, Any]) -> Order:
    return Order.model_validate({**request["order"], "run": os.environ.get(RUN, "/run/safekit")})


def _check(request: dict[str, Any]) -> str:
    order = _order(request)
    HARMS[order.kind](order).check()
    return "it can be done here"


def _arm(request: dict[str, Any]) -> str:
    """The guard first; the harm only when it says that it and its backstop are ready."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "safekit_rehearse.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        cwd="/",
    )
    if guard.stdin is None or guard.stdout is None:
        raise RefusedError("the guard has no pipes")
    print(_order(request).model_dump_json(), file=guard.stdin, flush=True)
    said = _line(guard.stdout, 2 * GO_S)
    if said != READY:
        guard.kill()
        return _answer(said)
    print(GO, end="", file=guard.stdin, flush=True)
    return _answer(_line(guard.stdout, COMMAND_S))


def _line(file: IO[str], time_s: float) -> str:
    return file.readline() if select.select([file], [], [], time_s)[0] else ""


def _answer(line: str) -> str:
    answer = _OBJECT.validate_json(line or '{"result": ""}')
    if error := answer.get("error"):
        raise RefusedError(str(error.get("message")), hint=str(error.get("hint", "")))
    if not answer.get("result"):
        raise RefusedError("the guard of the drill did not start: nothing was done")
    return str(answer["result"])


def _undo(request: dict[str, Any]) -> bool:
    """Whether there was anything to undo. It is undone when this returns."""
    del request
    pid = holder(os.environ.get(RUN, "/run/safekit"))
    if not pid:
        return False
    try:
        guard = os.pidfd_open(pid)
        signal.pidfd_send_signal(guard, signal.SIGTERM)
    except ProcessLookupError:
        return True
    if not select.select([guard], [], [], COMMAND_S)[0]:
        raise RefusedError("the guard of the drill does not end; its backstop undoes the drill at its time")
    return True


def _outcome(request: dict[str, Any]) -> dict[str, Any]:
    """What became of the last drill; nothing while it is under way."""
    del request
    run = os.environ.get(RUN, "/run/safekit")
    if holder(run):
        return {}
    try:
        return Record.model_validate_json((Path(run) / RECORD).read_bytes()).model_dump(mode="json")
    except (OSError, ValidationError):
        return {}


WORK: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "check": _check,
    "arm": _arm,
    "undo": _undo,
    "outcome": _outcome,
}

if __name__ == "__main__":
    main()
