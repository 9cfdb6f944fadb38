"""Pages that show: overview, module, timeline, why, cluster, diagnosis."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from safekit_console import consequences
from safekit_console.access import Asker, Needs
from safekit_console.history import Course
from safekit_console.outlook import Tone
from safekit_console.pages.drawing import polyline
from safekit_console.pages.rendering import page
from safekit_console.parts import console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role

router = APIRouter(include_in_schema=False)
AnyUser = Annotated[Asker, Depends(Needs(Role.NONE))]
Looks = Annotated[Asker, Depends(Needs(Role.MONITOR))]
Name = Annotated[str, Path(max_length=64)]
LINES = 40
WEIGHT = {Tone.BAD: 0, Tone.CARE: 1, Tone.GOOD: 2, Tone.STILL: 3}


@router.get("/")
async def overview(request: Request, asker: AnyUser) -> Response:
    reading = Reading(console_of(request), asker)
    modules = reading.modules()
    told = reading.headline()
    worst = min(told, key=lambda sentence: WEIGHT[sentence.tone]).tone
    return page(
        request,
        "overview.html",
        asker,
        modules=modules,
        outlooks={name: reading.outlook(name) for name in modules},
        traits={name: reading.traits(name) for name in modules},
        headline=told[:6],
        more=max(len(told) - 6, 0),
        worst=worst,
    )


@router.get("/modules/{module}")
async def module_page(request: Request, asker: Looks, module: Name) -> Response:
    reading = Reading(console_of(request), asker)
    nodes = reading.module(module)
    known = [found for found in nodes.values() if found]
    inspected = await reading.inspected(module) if known and known[0].kind != "light" else {}
    return page(
        request,
        "module.html",
        asker,
        name=module,
        nodes=nodes,
        kind=known[0].kind if known else "",
        outlook=reading.outlook(module),
        traits=reading.traits(module),
        lines=await reading.lines(module, LINES),
        actions=[one for one in consequences.ACTIONS if _suits(one, known[0].kind if known else "")],
        farm=_farm(nodes),
        replication=_replication(inspected),
        inspected=inspected,
        courses=_by_node(await reading.courses(module)),
        panels=await reading.panels(module),
        polyline=polyline,
    )


def _by_node(courses: list[Course]) -> dict[str, list[Course]]:
    return {node: list(found) for node, found in groupby(courses, key=lambda course: course.node)}


def _suits(action: str, kind: str) -> bool:
    return kind == "mirror" or action not in {"swap", "prim", "second", "failover-on", "failover-off"}


def _farm(nodes: Any) -> dict[str, Any]:
    """The newest map: runs of buckets of one owner, for drawing, and each owner's number."""
    farms = [module.farm for module in nodes.values() if module and module.farm]
    if not farms:
        return {}
    newest = max(farms, key=lambda farm: farm.epoch)
    runs: list[tuple[int, int, str]] = []
    for place, owner in enumerate(newest.owners):
        if runs and runs[-1][2] == owner:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, owner)
        else:
            runs.append((place, 1, owner))
    return {"runs": runs, "owners": sorted(set(newest.owners) - {""}), "map": newest}


def _replication(inspected: dict[str, dict[str, dict[str, str]]]) -> list[dict[str, Any]]:
    """What is being copied to a node that was away, as far as a resource tells it."""
    found = []
    for node, resources in inspected.items():
        for resource, facts in resources.items():
            total, done = _number(facts, "resync.total_bytes"), _number(facts, "resync.done_bytes")
            if total:
                rate, left = _number(facts, "resync.rate_bytes_per_s"), _number(facts, "resync.left_s")
                found.append({"node": node, "resource": resource, "done": done / total, "rate": rate, "left_s": left})
    return found


def _number(facts: dict[str, str], name: str) -> float:
    try:
        return float(facts.get(name) or 0)
    except ValueError:
        return 0.0


@router.get("/timeline")
async def timeline(
    request: Request,
    asker: AnyUser,
    module: Annotated[str, Query(max_length=64)] = "",
    node: Annotated[str, Query(max_length=64)] = "",
    last: Annotated[int, Query(ge=1, le=1000)] = 200,
    all: bool = False,  # noqa: A002 - the name in the address
) -> Response:
    reading = Reading(console_of(request), asker)
    lines = await reading.lines(module or None, last, node if node in reading.snapshot.nodes else "")
    if not all:
        lines = [line for line in lines if line["kind"] == "decision" or line["severity"] != "info"]
    return page(
        request,
        "timeline.html",
        asker,
        lines=lines,
        modules=list(reading.modules()),
        chosen={"module": module, "node": node, "all": all},
    )


@router.get("/modules/{module}/why")
async def why(
    request: Request,
    asker: Looks,
    module: Name,
    node: Annotated[str, Query(max_length=64)] = "",
    entry: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
    back: Annotated[int, Query(ge=0, le=1000)] = 0,
) -> Response:
    reading = Reading(console_of(request), asker)
    found = await reading.why(module, node, back, entry)
    return page(request, "why.html", asker, name=module, node=node or reading.snapshot.own, found=found, back=back)


@router.get("/cluster")
async def cluster(request: Request, asker: AnyUser) -> Response:
    console = console_of(request)
    urls = {name: console.url(name) for name in console.watch.snapshot.nodes}
    own_authority = console.settings.certificate is None
    addresses = console.watch.addresses
    return page(request, "cluster.html", asker, urls=urls, addresses=addresses, own_authority=own_authority)


@router.get("/diagnosis")
async def diagnosis(request: Request, asker: Looks) -> Response:
    report = await Reading(console_of(request), asker).diagnosis()
    return page(request, "diagnosis.html", asker, report=report)


@router.get("/audit")
async def audit(
    request: Request,
    asker: Annotated[Asker, Depends(Needs(Role.ADMIN))],
    before: Annotated[int, Query(ge=0, lt=1 << 53)] = 0,
) -> Response:
    return page(request, "audit.html", asker, entries=console_of(request).store.audit(100, before))
