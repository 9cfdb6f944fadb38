"""The client: runs inside a machine of the lab, writes a Record as a JSON line for each request.

Argument: a Plan as JSON. Open loop: the pace does not wait for answers. SIGTERM ends it early, and in order.
"""

import asyncio
import json
import signal
import socket
import sys
import time

from ..error import LabError
from .exchange import Answer, BadAnswerError, Target, connect, converse, resolve
from .record import Plan, Record

_KINDS: tuple[tuple[type[OSError], str], ...] = (
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
)


class Client:
    def __init__(self, plan: Plan, target: Target) -> None:
        self._plan = plan
        self._target = target
        self._in_flight: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopped.set)
        begin = time.monotonic()
        for number in range(int(self._plan.duration_s / self._plan.interval_s)):
            due = begin + number * self._plan.interval_s
            await self._wait_until(due)
            if self._stopped.is_set():
                break
            self._launch(due)
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=self._plan.timeout_s * 2)

    async def _wait_until(self, due: float) -> None:
        delay = due - time.monotonic()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(delay):
                await self._stopped.wait()
        except TimeoutError:
            return

    def _launch(self, due: float) -> None:
        if len(self._in_flight) >= self._plan.max_in_flight:
            _write(_Start(due).record(error="overload"))
            return
        task = asyncio.create_task(self._request(_Start(due)))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _request(self, start: "_Start") -> None:
        with socket.socket(self._target.family, socket.SOCK_STREAM) as connection:
            try:
                answer = await self._attempt(connection)
                record = start.record(status=answer.status, server=answer.server)
            except BadAnswerError as error:
                record = start.record(error=error.kind, status=error.status)
            except OSError as error:
                record = start.record(error=_kind(error))
            _write(record)

    async def _attempt(self, connection: socket.socket) -> Answer:
        connected = False
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                await connect(self._target, connection)
                connected = True
                return await converse(self._target, connection)
        except TimeoutError as error:
            raise BadAnswerError("answer_timeout" if connected else "connect_timeout") from error


class _Start:
    """The clocks at the start of a request that was due at a time of CLOCK_MONOTONIC."""

    __slots__ = ("_begin", "_late_ms", "_wall")

    def __init__(self, due: float) -> None:
        self._begin = time.monotonic()
        self._wall = time.time()
        self._late_ms = round(max(0.0, self._begin - due) * 1000, 3)

    def record(self, *, error: str = "", status: int | None = None, server: str | None = None) -> Record:
        latency_ms = round((time.monotonic() - self._begin) * 1000, 3)
        return Record(self._begin, self._wall, latency_ms, self._late_ms, error, status, server)


def _kind(error: OSError) -> str:
    return next((kind for family, kind in _KINDS if isinstance(error, family)), "unreachable")


def _write(record: Record) -> None:
    sys.stdout.write(record.to_json() + "\n")
    sys.stdout.flush()


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    try:
        target = resolve(plan.target, plan.server_header)
    except LabError as error:
        sys.exit(f"error: {error}")
    asyncio.run(Client(plan, target).run())


if __name__ == "__main__":
    main()
