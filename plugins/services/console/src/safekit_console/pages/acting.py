"""Pages that change something: actions with what they mean, join tokens, users, one's own account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from safekit_console import consequences
from safekit_console.access import Asker, Needs, form
from safekit_console.accounts import UserName
from safekit_console.acting import Acting
from safekit_console.download import snapshot_file
from safekit_console.errors import HttpError, not_found
from safekit_console.pages.rendering import go, page, words_of
from safekit_console.parts import console_of
from safekit_console.reading import Reading
from safekit_console.roles import EVERYWHERE, Grants, Role

router = APIRouter(include_in_schema=False)
AnyUser = Annotated[Asker, Depends(Needs(Role.NONE))]
Controls = Annotated[Asker, Depends(Needs(Role.CONTROL))]
Administers = Annotated[Asker, Depends(Needs(Role.ADMIN))]
Name = Annotated[str, Path(max_length=64)]
_GRANTS: TypeAdapter[dict[str, str]] = TypeAdapter(Grants)
_USER: TypeAdapter[str] = TypeAdapter(UserName)
DAY_S = 86400.0


def _chosen_nodes(action: str, asked: list[str], nodes: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that were chosen; what is most likely meant when none was."""
    on = tuple(name for name in nodes if name in asked)
    if on or action in {"swap", "failover-on", "failover-off"}:
        return on
    if action == "start":
        return tuple(name for name, module in nodes.items() if module and module.state == "STOP") or tuple(nodes)
    if action in consequences.ON_ONE_NODE:
        return tuple(name for name, module in nodes.items() if module and not module.is_primary)[:1]
    running = tuple(name for name, module in nodes.items() if module and module.runs)
    return running[:1] or tuple(nodes)[:1]


@router.get("/modules/{module}/actions/{action}")
async def action_page(
    request: Request,
    asker: Controls,
    module: Name,
    action: str,
    on: Annotated[list[str], Query(max_length=100)] = [],  # noqa: B006 - FastAPI copies it
    force: str = "",
) -> Response:
    return _action(request, asker, module, action, on, force == "yes", "")


def _action(
    request: Request, asker: Asker, module: str, action: str, on: list[str], force: bool, error: str, status: int = 200
) -> Response:
    if action not in consequences.ACTIONS:
        raise not_found(f"there is no action '{action}'")
    reading = Reading(console_of(request), asker)
    nodes = reading.module(module)
    chosen = _chosen_nodes(action, on, nodes)
    known = consequences.of(action, module, chosen, nodes, reading.traits(module), force=force)
    context = {"name": module, "nodes": nodes, "action": action, "chosen": chosen, "force": force, "known": known}
    single = action in consequences.ON_ONE_NODE
    everywhere = action in {"swap", "failover-on", "failover-off"}
    return page(request, "action.html", asker, status, error=error, single=single, everywhere=everywhere, **context)


@router.post("/modules/{module}/actions/{action}")
async def act(request: Request, asker: Controls, module: Name, action: str) -> Response:
    fields = await form(request)
    on, force = [name for name in fields.get("on", "").split("\n") if name], fields.get("force") == "yes"
    acting = Acting(console_of(request), asker)
    try:
        done = await acting.command(module, action, tuple(on), force=force, confirm=fields.get("confirm", ""))
    except HttpError as error:
        if error.status not in {409, 422}:
            raise
        told = words_of(request)(error.message)
        return _action(request, asker, module, action, on, force, f"{told} ({error.hint})" if error.hint else told, 409)
    told = "; ".join(f"{node}: {', '.join(result['decisions'])}" for node, result in done.items())
    return go(f"/modules/{module}", asker, told)


@router.post("/modules/{module}/weights")
async def set_weight(request: Request, asker: Controls, module: Name) -> Response:
    fields = await form(request)
    text = fields.get("weight", "")
    if text and not (text.isdigit() and int(text) <= 10000):
        raise HttpError(422, "invalid", "a weight is a number from 0 to 10000")
    await Acting(console_of(request), asker).set_weight(module, fields.get("node", ""), int(text) if text else None)
    return go(f"/modules/{module}", asker, words_of(request)("The weight is set."))


@router.get("/modules/{module}/remove")
async def removal_page(request: Request, asker: Administers, module: Name) -> Response:
    return page(request, "remove.html", asker, name=module, sentences=consequences.removal(module), error="")


@router.post("/modules/{module}/remove")
async def remove(request: Request, asker: Administers, module: Name) -> Response:
    confirm = (await form(request)).get("confirm", "")
    try:
        await Acting(console_of(request), asker).remove(module, confirm)
    except HttpError as error:
        sentences = consequences.removal(module)
        told = words_of(request)(error.message)
        return page(request, "remove.html", asker, 409, name=module, sentences=sentences, error=told)
    return go("/", asker, words_of(request)("%(module)s is removed.", module=module))


@router.post("/cluster/snapshot")
async def snapshot(request: Request, asker: Administers) -> Response:
    console = console_of(request)
    return snapshot_file(console.watch.snapshot.cluster, await Acting(console, asker).snapshot())


@router.get("/users")
async def users_page(request: Request, asker: Administers) -> Response:
    return _users(request, asker)


def _users(request: Request, asker: Asker, error: str = "", status: int = 200) -> Response:
    users = console_of(request).accounts.users()
    modules = list(console_of(request).watch.snapshot.modules())
    return page(request, "users.html", asker, status, users=users, modules=modules, error=error)


def _grants(fields: Mapping[str, str]) -> dict[str, str]:
    """Of fields `role:MODULE`; an empty one grants nothing."""
    asked = {name.removeprefix("role:"): word for name, word in fields.items() if name.startswith("role:") and word}
    try:
        return _GRANTS.validate_python(asked)
    except ValidationError:
        raise HttpError(422, "invalid", "these are no roles") from None


@router.post("/users")
async def add_user(request: Request, asker: Administers) -> Response:
    fields = await form(request)
    acting = Acting(console_of(request), asker)
    try:
        name = _USER.validate_python(fields.get("name", ""))
        user = await acting.add_user(name, fields.get("password", ""), _grants(fields))
    except ValidationError:
        return _users(request, asker, words_of(request)("a name has letters, digits and . _ @ -"), 422)
    except HttpError as error:
        return _users(request, asker, words_of(request)(error.message), error.status)
    return go("/users", asker, words_of(request)("%(user)s may sign in now.", user=user.name))


@router.post("/users/{user}")
async def change_user(request: Request, asker: Administers, user: Name) -> Response:
    fields = await form(request)
    acting, words = Acting(console_of(request), asker), words_of(request)
    try:
        if fields.get("do") == "remove":
            await acting.remove_user(user)
            return go("/users", asker, words("%(user)s is removed.", user=user))
        await acting.change_user(user, fields.get("password", ""), _grants(fields))
    except HttpError as error:
        return _users(request, asker, words(error.message), error.status)
    return go("/users", asker, words("%(user)s is changed, and has to sign in again.", user=user))


@router.get("/me")
async def account_page(request: Request, asker: AnyUser) -> Response:
    return _account(request, asker)


def _account(request: Request, asker: Asker, error: str = "", status: int = 200, issued: str = "") -> Response:
    console = console_of(request)
    return page(
        request,
        "account.html",
        asker,
        status,
        sessions=console.store.sessions(asker.user.name),
        tokens=console.accounts.tokens(asker.user.name),
        modules=[name for name in console.watch.snapshot.modules() if asker.sees(name)],
        error=error,
        issued=issued,
    )


@router.post("/me/password")
async def change_password(request: Request, asker: AnyUser) -> Response:
    fields, words = await form(request), words_of(request)
    try:
        if fields.get("new") != fields.get("again"):
            raise HttpError(422, "invalid", "the two passwords are not the same")
        await Acting(console_of(request), asker).change_own_password(fields.get("old", ""), fields.get("new", ""))
    except HttpError as error:
        return _account(request, asker, words(error.message), error.status)
    return go("/login")


@router.post("/me/tokens")
async def issue_token(request: Request, asker: AnyUser) -> Response:
    fields, words = await form(request), words_of(request)
    module, role = fields.get("module", EVERYWHERE), fields.get("role", "monitor")
    days = fields.get("days", "30")
    try:
        grants = _grants({f"role:{module}": role})
        if not (days.isdigit() and 1 <= int(days) <= 366) or not 1 <= len(fields.get("label", "")) <= 80:
            raise HttpError(422, "invalid", "give a name, and from 1 to 366 days")
        acting = Acting(console_of(request), asker)
        _, text = await acting.issue_token(fields["label"], grants, int(days) * DAY_S)
    except HttpError as error:
        return _account(request, asker, words(error.message), error.status)
    return _account(request, asker, issued=text)


@router.post("/me/tokens/{token}")
async def revoke_token(request: Request, asker: AnyUser, token: Name) -> Response:
    await Acting(console_of(request), asker).revoke_token(token)
    return go("/me", asker, words_of(request)("The token is revoked."))


@router.post("/me/sessions/{session}")
async def end_session(request: Request, asker: AnyUser, session: Name) -> Response:
    Acting(console_of(request), asker).end_session(session)
    return go("/me")
