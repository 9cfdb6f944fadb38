"""Modules: their state, their actions, what their checkers say, and their journal."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from safekit_console import consequences
from safekit_console.access import Asker, Needs
from safekit_console.acting import Acting
from safekit_console.api.cluster import AnyUser, told
from safekit_console.api.models import (
    Action,
    ActionRequest,
    CourseAnswer,
    LineAnswer,
    ModuleAnswer,
    ModuleOnNode,
    Name,
    PanelAnswer,
    Told,
    ValueRequest,
    WeightRequest,
)
from safekit_console.idempotency import IdempotencyKey, once
from safekit_console.outlook import Nodes
from safekit_console.parts import console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role

router = APIRouter(tags=["modules"])
Looks = Annotated[Asker, Depends(Needs(Role.MONITOR))]
Controls = Annotated[Asker, Depends(Needs(Role.CONTROL))]
ModuleName = Annotated[Name, Path()]
Last = Annotated[int, Query(ge=1, le=1000)]
OneNode = Annotated[str, Query(max_length=64)]


def module_answer(reading: Reading, name: str, nodes: Nodes) -> ModuleAnswer:
    outlook = reading.outlook(name)
    kind = next((module.kind for module in nodes.values() if module), "")
    found = {}
    for node, module in nodes.items():
        seen = reading.snapshot.nodes.get(node)
        found[node] = ModuleOnNode(
            reachable=module is not None,
            state=module.state if module else "ERROR",
            readiness=module.readiness if module else "",
            reason=module.reason if module else (seen.trouble if seen else "it does not answer"),
            since=seen.wall - module.since_s if module and seen else 0.0,
            detail=module.model_dump(exclude={"since_s"}) if module else {},
            if_it_died=told(outlook[node]),
        )
    return ModuleAnswer(name=name, kind=kind, nodes=found)


@router.get("/modules")
async def modules(request: Request, asker: AnyUser) -> list[ModuleAnswer]:
    reading = Reading(console_of(request), asker)
    return [module_answer(reading, name, nodes) for name, nodes in reading.modules().items()]


@router.get("/modules/{module}")
async def one_module(request: Request, asker: Looks, module: ModuleName) -> ModuleAnswer:
    reading = Reading(console_of(request), asker)
    return module_answer(reading, module, reading.module(module))


@router.get("/modules/{module}/verdicts")
async def verdicts(request: Request, asker: Looks, module: ModuleName) -> dict[str, list[dict[str, Any]]]:
    """By node what the checkers and resources said last."""
    nodes = Reading(console_of(request), asker).module(module)
    return {node: [value.model_dump() for value in found.values] for node, found in nodes.items() if found}


@router.get("/modules/{module}/inspection")
async def inspection(request: Request, asker: Looks, module: ModuleName) -> dict[str, dict[str, dict[str, str]]]:
    """By node and resource: traffic, buckets, replication."""
    return await Reading(console_of(request), asker).inspected(module)


@router.get("/modules/{module}/history")
async def history(request: Request, asker: Looks, module: ModuleName) -> list[CourseAnswer]:
    """What checkers and resources said in the last hour: for how many seconds which value, and how often down."""
    found = await Reading(console_of(request), asker).courses(module)
    return [
        CourseAnswer(node=one.node, resource=one.resource, seconds=dict(one.shares), falls=one.falls) for one in found
    ]


@router.get("/modules/{module}/panels")
async def panels(request: Request, asker: Looks, module: ModuleName) -> list[PanelAnswer]:
    """What installed packages add to the page of the module."""
    found = await Reading(console_of(request), asker).panels(module)
    return [PanelAnswer(name=one.name, package=one.package, panel=one.panel, trouble=one.trouble) for one in found]


@router.get("/modules/{module}/rules", dependencies=[Depends(Needs(Role.MONITOR))])
async def rules(request: Request, module: ModuleName, node: OneNode = "") -> dict[str, Any]:
    console = console_of(request)
    found = await console.node.on(node or console.watch.snapshot.own, "rules", {"module": module})
    return {key: found[key] for key in ("node", "state", "readiness", "held_s", "swap_obstacle", "loops")} | {
        "rules": found["module"]["rules"],
        "conditions": found["module"]["conditions"],
    }


@router.get("/modules/{module}/why")
async def why(
    request: Request,
    asker: Looks,
    module: ModuleName,
    node: OneNode = "",
    back: Annotated[int, Query(ge=0, le=1000)] = 0,
) -> dict[str, Any]:
    """The last change, or an earlier one: what was decided, by which rule, on which facts."""
    return await Reading(console_of(request), asker).why(module, node, back)


@router.get("/journal")
async def journal(
    request: Request,
    asker: AnyUser,
    module: Annotated[Name | None, Query()] = None,
    node: OneNode = "",
    last: Last = 100,
) -> list[LineAnswer]:
    """What happened, newest first, of all nodes that answer."""
    lines = await Reading(console_of(request), asker).lines(module, last, node)
    return [LineAnswer(**line) for line in lines]


@router.get("/modules/{module}/actions/{action}")
async def action_consequences(
    request: Request,
    asker: Looks,
    module: ModuleName,
    action: Action,
    nodes: Annotated[list[str], Query(max_length=100)] = [],  # noqa: B006 - FastAPI copies it
    force: bool = False,
) -> list[Told]:
    """What users would notice, and what may be lost."""
    reading = Reading(console_of(request), asker)
    holders = reading.module(module)
    known = consequences.of(action, module, tuple(nodes), holders, reading.traits(module), force=force)
    return [told(sentence) for sentence in known.sentences]


@router.post("/modules/{module}/actions")
async def act(
    request: Request,
    asker: Controls,
    module: ModuleName,
    asked: ActionRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start, stop, move. The answer says what each node decided; the state follows."""
    acting = Acting(console_of(request), asker)
    return await once(
        request,
        asker,
        idempotency_key,
        lambda: acting.command(module, asked.action, asked.nodes, force=asked.force, confirm=asked.confirm),
    )


@router.put("/modules/{module}/values/{resource}", status_code=204)
async def set_value(
    request: Request,
    asker: Controls,
    module: ModuleName,
    resource: Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_]+\.[A-Za-z0-9_.:-]+$")],
    asked: ValueRequest,
) -> None:
    """Set a value that rules look at."""
    await Acting(console_of(request), asker).set_value(module, resource, asked.value, asked.nodes)


@router.put("/modules/{module}/weights/{node}", status_code=204)
async def set_weight(
    request: Request, asker: Controls, module: ModuleName, node: Annotated[Name, Path()], asked: WeightRequest
) -> None:
    """Another part of a farm's clients for a node."""
    await Acting(console_of(request), asker).set_weight(module, node, asked.weight)
