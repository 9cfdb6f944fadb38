"""The cluster and its nodes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from safekit_console.access import Asker, Needs
from safekit_console.acting import Acting
from safekit_console.api.models import ClusterAnswer, JoinTokenRequest, NodeAnswer, Told
from safekit_console.download import snapshot_file
from safekit_console.errors import not_found
from safekit_console.idempotency import IdempotencyKey, once
from safekit_console.outlook import Sentence
from safekit_console.parts import Console, console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role
from safekit_console.state import Seen

router = APIRouter(tags=["cluster"])
Looks = Annotated[Asker, Depends(Needs(Role.MONITOR))]
Administers = Annotated[Asker, Depends(Needs(Role.ADMIN))]
AnyUser = Annotated[Asker, Depends(Needs(Role.NONE))]


def told(sentence: Sentence) -> Told:
    return Told(text=sentence.text % sentence.words, tone=sentence.tone.value)


def node_answer(console: Console, seen: Seen) -> NodeAnswer:
    status = seen.status
    return NodeAnswer(
        name=seen.name,
        reachable=status is not None,
        trouble=seen.trouble,
        alarms=list(status.alarms) if status else [],
        hears={peer.node: peer.alive for peer in status.peers} if status else {},
        console=console.url(seen.name),
    )


@router.get("/cluster")
async def cluster(request: Request, asker: AnyUser) -> ClusterAnswer:
    """The cluster, what is wrong in it, and its nodes."""
    console = console_of(request)
    reading = Reading(console, asker)
    return ClusterAnswer(
        name=reading.snapshot.cluster,
        answered_by=reading.snapshot.own,
        version=reading.snapshot.number,
        headline=[told(sentence) for sentence in reading.headline()],
        nodes=[node_answer(console, seen) for seen in reading.snapshot.nodes.values()],
    )


@router.get("/nodes", dependencies=[Depends(Needs(Role.NONE))])
async def nodes(request: Request) -> list[NodeAnswer]:
    console = console_of(request)
    return [node_answer(console, seen) for seen in console.watch.snapshot.nodes.values()]


@router.get("/nodes/{node}", dependencies=[Depends(Needs(Role.NONE))])
async def node(request: Request, node: str) -> NodeAnswer:
    console = console_of(request)
    seen = console.watch.snapshot.nodes.get(node)
    if seen is None:
        raise not_found(f"there is no node '{node}'")
    return node_answer(console, seen)


@router.get("/diagnosis")
async def diagnosis(request: Request, asker: Looks) -> dict[str, Any]:
    """What `safekit doctor` finds. It takes some seconds."""
    return await Reading(console_of(request), asker).diagnosis()


@router.post("/cluster/snapshot", response_class=Response)
async def snapshot(request: Request, asker: Administers) -> Response:
    """The whole cluster in one file, a tar.gz, for whoever helps. Nodes that are not in it are in the header
    `safekit-missing`. It takes up to a minute, and one is made at a time."""
    console = console_of(request)
    return snapshot_file(console.watch.snapshot.cluster, await Acting(console, asker).snapshot())


@router.post("/cluster/join-token")
async def join_token(
    request: Request, asker: Administers, asked: JoinTokenRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """A token with which one node may join, once."""
    return await once(
        request, asker, idempotency_key, lambda: Acting(console_of(request), asker).join_token(asked.ttl_s)
    )
