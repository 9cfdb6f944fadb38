"""What changes something, for the API and the pages alike: checked, done, and written into the audit journal with who,
from where and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from safekit_console import consequences
from safekit_console.access import Asker
from safekit_console.accounts import ApiToken, User
from safekit_console.errors import HttpError, not_found
from safekit_console.node import Snapshot, result_of
from safekit_console.parts import Console
from safekit_console.problems import EXPECTED, problem_of
from safekit_console.roles import ROLES, Role, role_for

T = TypeVar("T")


class Acting:
    def __init__(self, console: Console, asker: Asker) -> None:
        self._console = console
        self._asker = asker

    async def _audited(self, action: str, target: str, work: Awaitable[T]) -> T:
        note = self._console.store.note
        who, origin = self._asker.user.name, self._asker.operator.origin
        try:
            done = await work
        except EXPECTED as error:
            note(who, origin, action, target, f"failed: {problem_of(error).detail}")
            raise
        note(who, origin, action, target, "done")
        return done

    async def command(
        self, module: str, action: str, nodes: tuple[str, ...], *, force: bool = False, confirm: str = ""
    ) -> dict[str, Any]:
        """What each node decided. The first error of a node is raised, when the others have been asked as well."""
        self._asker.require(Role.CONTROL, module)
        on = self._nodes(module, action, nodes)
        holders = self._console.watch.snapshot.module(module)
        known = consequences.of(action, module, on, holders, self._console.watch.traits(module), force=force)
        if known.confirm and confirm != module:
            raise HttpError(
                409, "unconfirmed", "data are at stake", hint=f"confirm it with the module's name, '{module}'"
            )
        target = f"{module} on {', '.join(on)}" + (" by force" if force else "")
        if action == "stop":
            return await self._audited(action, target, self._in_order(module, on))
        args = {"module": module, "command": action, "force": force}
        return await self._audited(action, target, self._everywhere("command", args, on))

    async def _in_order(self, module: str, on: tuple[str, ...]) -> dict[str, Any]:
        """The secondary first. It takes until that has stopped."""
        answers = await self._console.node.stop(module, on, self._asker.operator)
        return {node: result_of(node, answer) for node, answer in answers.items()}

    def _nodes(self, module: str, action: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
        if action not in consequences.ACTIONS:
            raise not_found(f"there is no action '{action}'")
        holders = list(self._console.watch.snapshot.module(module))
        if not holders:
            raise not_found(f"there is no module '{module}'")
        if action == "swap":
            return (self._console.watch.snapshot.own,)
        on = tuple(holders) if action.startswith("failover") or "*" in nodes else nodes
        if action in consequences.ON_ONE_NODE and len(on) != 1:
            raise HttpError(422, "invalid", f"{action} is for one node: name it")
        if not on or not set(on) <= set(holders):
            raise HttpError(422, "invalid", f"module '{module}' is on {', '.join(holders)}: name one of them")
        return on

    async def _everywhere(self, op: str, args: dict[str, Any], on: tuple[str, ...]) -> dict[str, Any]:
        answers = await self._console.node.fan(op, args, on, by=self._asker.operator, timeout_s=10.0)
        return {node: result_of(node, answer) for node, answer in answers.items()}

    async def set_value(self, module: str, resource: str, value: str, nodes: tuple[str, ...]) -> None:
        self._asker.require(Role.CONTROL, module)
        on = self._nodes(module, "start", nodes)
        args = {"module": module, "resource": resource, "value": value}
        await self._audited("set value", f"{module}: {resource} = {value}", self._everywhere("set-value", args, on))

    async def set_weight(self, module: str, node: str, weight: int | None) -> None:
        self._asker.require(Role.CONTROL, module)
        on = self._nodes(module, "start", (node,))
        args = {"module": module, "weight": weight}
        told = "as configured" if weight is None else str(weight)
        await self._audited("set weight", f"{module} on {node}: {told}", self._everywhere("weight", args, on))

    async def apply(self, module: str, files: dict[str, bytes]) -> dict[str, Any]:
        self._asker.require(Role.ADMIN)
        work = self._console.node.apply(module, files, self._asker.operator)
        return await self._audited("apply", module, work)

    async def restore(self, module: str, version: int) -> dict[str, Any]:
        self._asker.require(Role.ADMIN)
        files = await self._console.node.version_files(module, version)
        work = self._console.node.apply(module, files, self._asker.operator)
        return await self._audited("restore", f"{module}, version {version}", work)

    async def remove(self, module: str, confirm: str) -> Any:
        self._asker.require(Role.ADMIN)
        if confirm != module:
            raise HttpError(409, "unconfirmed", "confirm it with the module's name", hint=f"'{module}'")
        work = self._console.node.ask("remove", {"module": module}, by=self._asker.operator, timeout_s=40.0)
        return await self._audited("remove", module, work)

    async def join_token(self, ttl_s: float) -> dict[str, Any]:
        self._asker.require(Role.ADMIN)
        work = self._console.node.ask("token", {"ttl_s": ttl_s, "network": ""}, by=self._asker.operator)
        return dict(await self._audited("issue join token", self._console.watch.snapshot.cluster, work))

    async def snapshot(self) -> Snapshot:
        """What every node that can be reached says and remembers, without its secrets."""
        self._asker.require(Role.ADMIN)
        work = self._console.node.snapshot(self._asker.operator)
        return await self._audited("make snapshot", self._console.watch.snapshot.cluster, work)

    async def add_user(self, name: str, password: str, grants: Mapping[str, str]) -> User:
        self._asker.require(Role.ADMIN)
        return await self._audited("add user", f"{name}: {_told(grants)}", self._accounts.add(name, password, grants))

    async def change_user(self, name: str, password: str, grants: Mapping[str, str] | None) -> User:
        self._asker.require(Role.ADMIN)
        told = _told(grants) if grants is not None else "password"
        work = self._accounts.change(name, password=password, grants=grants)
        return await self._audited("change user", f"{name}: {told}", work)

    async def remove_user(self, name: str) -> None:
        self._asker.require(Role.ADMIN)
        await self._audited("remove user", name, self._accounts.remove(name))

    async def change_own_password(self, old: str, new: str) -> None:
        if self._asker.token:
            raise HttpError(403, "forbidden", "an API token cannot change a password")
        name, address = self._asker.user.name, self._asker.address
        self._console.lock_out.try_once(name.casefold(), address)
        if await self._accounts.verify(name, old) is None:
            self._console.store.note(
                name, self._asker.operator.origin, "change password", name, "failed: wrong password"
            )
            raise HttpError(422, "invalid", "this is not your present password")
        self._console.lock_out.passed(name.casefold(), address)
        await self._audited("change password", name, self._accounts.change(name, password=new))

    @property
    def _accounts(self) -> Any:
        return self._console.accounts

    async def issue_token(self, label: str, grants: Mapping[str, str], ttl_s: float) -> tuple[ApiToken, str]:
        """Of the asker, for no more than he may himself."""
        for module, word in grants.items():
            asked = None if module == "*" else module
            if role_for(self._asker.grants, asked) < ROLES[word]:
                raise HttpError(403, "forbidden", f"a token cannot do more than you may: {word} on '{module}'")
        work = self._accounts.issue(self._asker.user, label, grants, ttl_s)
        found: tuple[ApiToken, str] = await self._audited("issue API token", f"{label}: {_told(grants)}", work)
        return found

    async def revoke_token(self, number: str) -> None:
        token = next((one for one in self._accounts.tokens() if one.id == number), None)
        own = token is not None and token.user == self._asker.user.name
        if token is None or not (own or self._asker.role() >= Role.ADMIN):
            raise not_found("there is no such token of yours")
        await self._audited("revoke API token", f"{token.label} of {token.user}", self._accounts.revoke(number))

    def end_session(self, digest: str) -> None:
        if not self._console.store.end(digest, self._asker.user.name):
            raise not_found("there is no such session of yours on this node")
        self._console.store.note(self._asker.user.name, self._asker.operator.origin, "end session", digest[:12], "done")


def _told(grants: Mapping[str, str]) -> str:
    return ", ".join(f"{role} on {module}" for module, role in grants.items()) or "no role"
