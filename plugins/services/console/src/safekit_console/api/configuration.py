"""Module files: looked at, validated, planned, applied, restored, removed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from safekit_console.access import Asker, Needs
from safekit_console.acting import Acting
from safekit_console.api.models import FilesRequest, FromAppRequest, TextRequest
from safekit_console.api.modules import ModuleName
from safekit_console.idempotency import IdempotencyKey, once
from safekit_console.parts import console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role

router = APIRouter(tags=["configuration"])
Administers = Annotated[Asker, Depends(Needs(Role.ADMIN))]
Version = Annotated[int, Path(ge=1, le=1_000_000)]


def _bytes(asked: FilesRequest) -> dict[str, bytes]:
    return {path: text.encode() for path, text in asked.files.items()}


def _text(files: dict[str, bytes]) -> dict[str, str]:
    return {path: content.decode(errors="replace") for path, content in files.items()}


@router.get("/apps", dependencies=[Depends(Needs(Role.ADMIN))])
async def apps(request: Request) -> list[dict[str, Any]]:
    """The installed applications, with the JSON Schema of their settings."""
    return await console_of(request).node.apps()


@router.post("/module-files", dependencies=[Depends(Needs(Role.ADMIN))])
async def module_file(request: Request, asked: FromAppRequest) -> dict[str, str]:
    """The module file that suits this; nothing is applied."""
    args = asked.model_dump(mode="json")
    return dict(await console_of(request).node.ask("module-file", args, timeout_s=40.0))


@router.get("/modules/{module}/configuration", dependencies=[Depends(Needs(Role.ADMIN))])
async def files(request: Request, module: ModuleName) -> dict[str, str]:
    """The files in force."""
    return _text(await console_of(request).node.files(module))


@router.post("/modules/{module}/validate", dependencies=[Depends(Needs(Role.ADMIN))])
async def validate(request: Request, module: ModuleName, asked: TextRequest) -> dict[str, Any]:
    """Whether the text is a good module file. An error says file, line and column."""
    args = {"module": module, "text": asked.text}
    return dict(await console_of(request).node.ask("validate", args, timeout_s=40.0))


@router.post("/modules/{module}/plan", dependencies=[Depends(Needs(Role.ADMIN))])
async def plan(request: Request, module: ModuleName, asked: FilesRequest) -> dict[str, Any]:
    """What applying it would do on each node, and what it would interrupt."""
    return await console_of(request).node.plan(module, _bytes(asked))


@router.put("/modules/{module}/configuration")
async def apply(
    request: Request,
    asker: Administers,
    module: ModuleName,
    asked: FilesRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Apply on all nodes, or on none."""
    acting = Acting(console_of(request), asker)
    return await once(request, asker, idempotency_key, lambda: acting.apply(module, _bytes(asked)))


@router.get("/modules/{module}/versions")
async def versions(request: Request, asker: Administers, module: ModuleName) -> list[dict[str, Any]]:
    """Newest first."""
    return await Reading(console_of(request), asker).versions(module)


@router.get("/modules/{module}/versions/{version}", dependencies=[Depends(Needs(Role.ADMIN))])
async def version_files(request: Request, module: ModuleName, version: Version) -> dict[str, str]:
    return _text(await console_of(request).node.version_files(module, version))


@router.post("/modules/{module}/versions/{version}/restore")
async def restore(
    request: Request, asker: Administers, module: ModuleName, version: Version, idempotency_key: IdempotencyKey = None
) -> Response:
    """Apply an earlier version again."""
    acting = Acting(console_of(request), asker)
    return await once(request, asker, idempotency_key, lambda: acting.restore(module, version))


@router.delete("/modules/{module}")
async def remove(
    request: Request,
    asker: Administers,
    module: ModuleName,
    confirm: Annotated[str, Query(max_length=64)] = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take a stopped module off every node. `confirm` is its name."""
    acting = Acting(console_of(request), asker)
    return await once(request, asker, idempotency_key, lambda: acting.remove(module, confirm))
