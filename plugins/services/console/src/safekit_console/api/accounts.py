"""Users, sessions, API tokens, the audit journal."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from safekit_console.access import Needs
from safekit_console.accounts import ApiToken, User
from safekit_console.acting import Acting
from safekit_console.api.cluster import Administers, AnyUser
from safekit_console.api.models import (
    ChangeUserRequest,
    IssuedAnswer,
    NewTokenRequest,
    NewUserRequest,
    PasswordRequest,
    TokenAnswer,
    UserAnswer,
)
from safekit_console.parts import console_of
from safekit_console.roles import Role

router = APIRouter(tags=["accounts"])
UserPath = Annotated[str, Path(max_length=64)]


def user_answer(user: User) -> UserAnswer:
    return UserAnswer(name=user.name, grants=dict(user.grants), created=user.created)


def token_answer(token: ApiToken) -> TokenAnswer:
    return TokenAnswer(**token.model_dump(exclude={"digest"}))


@router.get("/me")
async def me(asker: AnyUser) -> dict[str, Any]:
    """Who asks, and what he may."""
    return {"name": asker.user.name, "grants": {module: role.word for module, role in asker.grants.items()}}


@router.put("/me/password", status_code=204)
async def change_password(request: Request, asker: AnyUser, asked: PasswordRequest) -> None:
    """Ends all sessions of the user."""
    await Acting(console_of(request), asker).change_own_password(asked.old, asked.new)


@router.get("/me/sessions")
async def sessions(request: Request, asker: AnyUser) -> list[dict[str, Any]]:
    """On this node."""
    found = console_of(request).store.sessions(asker.user.name)
    return [
        {"id": one.digest, "began": one.began, "seen": one.seen, "address": one.address, "agent": one.agent}
        for one in found
    ]


@router.delete("/me/sessions/{session}", status_code=204)
async def end_session(request: Request, asker: AnyUser, session: Annotated[str, Path(max_length=64)]) -> None:
    Acting(console_of(request), asker).end_session(session)


@router.get("/tokens")
async def tokens(request: Request, asker: AnyUser) -> list[TokenAnswer]:
    """One's own; an administrator sees everybody's."""
    name = "" if asker.role() >= Role.ADMIN else asker.user.name
    return [token_answer(token) for token in console_of(request).accounts.tokens(name)]


@router.post("/tokens", status_code=201)
async def issue_token(request: Request, asker: AnyUser, asked: NewTokenRequest) -> IssuedAnswer:
    """A token of one's own, for no more than one may do."""
    token, text = await Acting(console_of(request), asker).issue_token(asked.label, asked.grants, asked.ttl_s)
    return IssuedAnswer(**token_answer(token).model_dump(), token=text)


@router.delete("/tokens/{token}", status_code=204)
async def revoke_token(request: Request, asker: AnyUser, token: Annotated[str, Path(max_length=64)]) -> None:
    await Acting(console_of(request), asker).revoke_token(token)


@router.get("/users", dependencies=[Depends(Needs(Role.ADMIN))])
async def users(request: Request) -> list[UserAnswer]:
    return [user_answer(user) for user in console_of(request).accounts.users()]


@router.post("/users", status_code=201)
async def add_user(request: Request, asker: Administers, asked: NewUserRequest) -> UserAnswer:
    user = await Acting(console_of(request), asker).add_user(asked.name, asked.password, asked.grants)
    return user_answer(user)


@router.put("/users/{user}")
async def change_user(request: Request, asker: Administers, user: UserPath, asked: ChangeUserRequest) -> UserAnswer:
    """Ends the user's sessions."""
    return user_answer(await Acting(console_of(request), asker).change_user(user, asked.password, asked.grants))


@router.delete("/users/{user}", status_code=204)
async def remove_user(request: Request, asker: Administers, user: UserPath) -> None:
    await Acting(console_of(request), asker).remove_user(user)


@router.get("/audit", dependencies=[Depends(Needs(Role.ADMIN))])
async def audit(
    request: Request,
    last: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int, Query(ge=0, lt=1 << 53)] = 0,
) -> list[dict[str, Any]]:
    """What was done by this node's console, newest first."""
    return [dataclasses.asdict(entry) for entry in console_of(request).store.audit(last, before)]
