"""The links between nodes: one bound socket per network, and per peer and network one outgoing link for
heartbeats; calls travel on links of their own, so that a large one never delays a heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from safekit.bus import messages, sockets
from safekit.bus.keys import KeyPair
from safekit.bus.messages import Answer, Beat, Call
from safekit.engine.reports import Heartbeat
from safekit_sdk import PeerError

log = structlog.get_logger("bus")
OnBeat = Callable[[str, Heartbeat], None]
OnCall = Callable[[str, Call], Awaitable[Answer]]
MAX_CALLS_AT_ONCE = 32
RETIRES_S = 1.0
"""How long an address that is given up is still listened on."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    node: str
    network: str
    address: str
    port: int
    public_key: str


@dataclass(frozen=True, slots=True)
class Listening:
    network: str
    address: str
    port: int


class _Members:
    """ZAP's question: may this key connect? To the node sockets only the keys of the cluster's nodes."""

    def __init__(self, keys: Callable[[], dict[str, str]]) -> None:
        self._keys = keys
        self.refused: Counter[str] = Counter()

    def callback(self, domain: str, key: bytes) -> bool:
        if domain == sockets.JOIN_DOMAIN:
            return True
        allowed = key.decode() in self._keys()
        if not allowed:
            if len(self.refused) < 1000:
                self.refused[key.decode()] += 1
            log.warning("refused a connection: the key belongs to no node of this cluster", key=key.decode()[:12])
        return allowed


class NodeBus:
    """Authenticated, encrypted traffic with the other nodes of the cluster. Addresses may change at run time."""

    def __init__(self, context: zmq.asyncio.Context, pair: KeyPair, on_beat: OnBeat, on_call: OnCall) -> None:
        self._context = context
        self._pair = pair
        self._on_beat = on_beat
        self._on_call = on_call
        self._names: dict[str, str] = {}
        self._members = _Members(lambda: self._names)
        self._authenticator = AsyncioAuthenticator(context)
        self._servers: dict[Listening, tuple[sockets.Socket, asyncio.Task[None]]] = {}
        self._retired: dict[Listening, tuple[sockets.Socket, asyncio.Task[None], asyncio.TimerHandle]] = {}
        self._beats: dict[PeerAddress, sockets.Socket] = {}
        self._calls: dict[PeerAddress, tuple[sockets.Socket, asyncio.Task[None]]] = {}
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._ids = itertools.count(1)
        self._in_hand = asyncio.Semaphore(MAX_CALLS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self.malformed = 0

    def start(self) -> None:
        self._authenticator.start()
        for domain in (sockets.NODE_DOMAIN, sockets.JOIN_DOMAIN):
            self._authenticator.configure_curve_callback(domain, credentials_provider=self._members)

    async def close(self) -> None:
        for place in list(self._retired):
            self._servers[place] = self._taken_back(place)
        tasks = [task for _, task in (*self._servers.values(), *self._calls.values())] + list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for socket in self._sockets():
            socket.close(0)
        self._authenticator.stop()

    def _sockets(self) -> list[sockets.Socket]:
        paired = [socket for socket, _ in (*self._servers.values(), *self._calls.values())]
        return paired + list(self._beats.values())

    def configure(self, listening: set[Listening], peers: set[PeerAddress]) -> None:
        """Bind and connect what is new, close what is gone. PeerError when an address cannot be bound."""
        self._names = {peer.public_key: peer.node for peer in peers}
        for gone in set(self._servers) - listening:
            self._retire(gone)
        for new in listening - set(self._servers):
            self._servers[new] = self._taken_back(new) if new in self._retired else self._listen(new)
        for left in set(self._beats) - peers:
            self._beats.pop(left).close(0)
            self._end(*self._calls.pop(left))
        for joined in peers - set(self._beats):
            self._connect(joined)

    def _retire(self, place: Listening) -> None:
        """A little later: the change that takes it away may have been asked for on it, and has to be answered."""
        socket, task = self._servers.pop(place)
        end = asyncio.get_running_loop().call_later(RETIRES_S, self._end_retired, place)
        self._retired[place] = (socket, task, end)

    def _end_retired(self, place: Listening) -> None:
        self._end(*self._taken_back(place))

    def _taken_back(self, place: Listening) -> tuple[sockets.Socket, asyncio.Task[None]]:
        socket, task, end = self._retired.pop(place)
        end.cancel()
        return socket, task

    def _end(self, socket: sockets.Socket, task: asyncio.Task[None]) -> None:
        task.cancel()
        socket.close(0)

    def _listen(self, place: Listening) -> tuple[sockets.Socket, asyncio.Task[None]]:
        socket = sockets.curve_server(
            self._context, self._pair, sockets.NODE_DOMAIN, max_bytes=messages.MAX_CALL_BYTES + 4096
        )
        try:
            socket.bind(sockets.endpoint(place.address, place.port))
        except zmq.ZMQError as error:
            socket.close(0)
            raise PeerError(
                f"cannot listen on {place.address} port {place.port} (network {place.network}): {error.strerror}",
                hint="check the address in cluster.yaml and that no other safekitd runs on this node",
            ) from None
        return socket, asyncio.create_task(self._serve(place.network, socket))

    def _connect(self, peer: PeerAddress) -> None:
        def link(max_bytes: int) -> sockets.Socket:
            socket = sockets.curve_client(self._context, self._pair, peer.public_key, max_bytes=max_bytes)
            socket.connect(sockets.endpoint(peer.address, peer.port))
            return socket

        self._beats[peer] = link(messages.MAX_BEAT_BYTES)
        calls = link(messages.MAX_CALL_BYTES + 4096)
        self._calls[peer] = (calls, asyncio.create_task(self._collect(calls)))

    def send_beat(self, heartbeat: Heartbeat) -> None:
        """Hand the heartbeat to every link that is connected; the others lose it, which is what silence is."""
        data = messages.encode(Beat(heartbeat=heartbeat))
        for socket in self._beats.values():
            sockets.send_now(socket, data)

    async def _serve(self, network: str, socket: sockets.Socket) -> None:
        while True:
            frames = await socket.recv_multipart(copy=False)
            if len(frames) != 2:
                self.malformed += 1
                continue
            node = self._names.get(_user(frames[1]), "")
            try:
                message = messages.decode(messages.BETWEEN_NODES, bytes(frames[1].buffer), messages.MAX_CALL_BYTES)
            except PeerError as error:
                self.malformed += 1
                log.warning("a peer's message was refused", peer=node, error=error.message)
                continue
            self._dispatch(network, node, socket, bytes(frames[0].buffer), message)

    def _dispatch(
        self, network: str, node: str, socket: sockets.Socket, identity: bytes, message: Beat | Call | Answer
    ) -> None:
        if isinstance(message, Beat):
            if message.heartbeat.node == node:
                self._on_beat(network, message.heartbeat)
            else:
                self.malformed += 1
        elif isinstance(message, Call) and node:
            task = asyncio.create_task(self._answer(node, socket, identity, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, node: str, socket: sockets.Socket, identity: bytes, call: Call) -> None:
        async with self._in_hand:
            answer = await self._on_call(node, call)
        with contextlib.suppress(zmq.ZMQError):
            await socket.send_multipart([identity, messages.encode(answer)])

    async def _collect(self, socket: sockets.Socket) -> None:
        while True:
            data = await socket.recv()
            with contextlib.suppress(PeerError):
                answer = messages.decode(messages.BETWEEN_NODES, data, messages.MAX_CALL_BYTES)
                waiting = self._waiting.get(answer.id) if isinstance(answer, Answer) else None
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)  # type: ignore[arg-type]

    async def call(self, node: str, op: str, args: dict[str, Any], timeout_s: float, by: str = "") -> Any:
        """Ask a peer and return its result, trying its networks in turn; PeerError when none answers. `by`: for whom
        it is asked."""
        links = [self._calls[peer][0] for peer in sorted(self._calls, key=lambda p: p.network) if peer.node == node]
        if not links:
            raise PeerError(f"node '{node}' is not in this cluster", hint="`safekit cluster status` lists the nodes")
        call = Call(id=f"{op}-{next(self._ids)}", op=op, args=args, by=by)
        answer = await self._ask(node, links, call, timeout_s)
        if answer.error is not None:
            messages.raise_body(answer.error)
        return answer.result

    async def _ask(self, node: str, links: list[sockets.Socket], call: Call, timeout_s: float) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = future
        try:
            for link in links:
                try:
                    async with asyncio.timeout(min(1.0, timeout_s)):
                        await link.send(messages.encode(call))
                    async with asyncio.timeout(timeout_s):
                        return await future
                except TimeoutError:
                    if future.cancelled():
                        break
            raise PeerError(f"node '{node}' does not answer", hint=f"is safekitd running on {node}?")
        finally:
            del self._waiting[call.id]


def _user(frame: zmq.Frame) -> str:
    """The Z85 key that the sender proved to hold."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
