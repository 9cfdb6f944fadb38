"""Applies a module's configuration to all its nodes or to none: stage everywhere, then commit everywhere.

A node that dies between the two comes back with the older revision, hears the newer one in its peers'
heartbeats, and fetches it from them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from safekit.bus.nodes import NodeBus
from safekit.config.compiled import CompiledModule
from safekit.config.plan import diff, lines
from safekit.daemon.configuration import Compilation, Configuration, Facts
from safekit.daemon.operations import Args, CommitArgs, FilesArgs, ModuleArgs, Operations, Power, StageArgs
from safekit_sdk import ConfigError, PeerError, RefusedError, SafekitError

log = structlog.get_logger("rollout")
STAGE_S: Final = 45.0
COMMIT_S: Final = 15.0
CATCH_UP_AFTER_S: Final = 1.0
_FACTS: Final = TypeAdapter(Facts)


class Rollout:
    def __init__(
        self,
        configuration: Configuration,
        bus: NodeBus,
        changed: Callable[[str, CompiledModule | None], None],
        stopped: Callable[[str], bool],
    ) -> None:
        self._configuration = configuration
        self._bus = bus
        self._changed = changed
        self._stopped = stopped
        self._staged: dict[str, tuple[str, int, Compilation]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._fetching: set[str] = set()

    def register(self, operations: Operations) -> None:
        operations.add("plan", FilesArgs, self.plan, peers=False, needs=Power.CONFIGURE)
        operations.add("apply", FilesArgs, self.apply, peers=False, needs=Power.CONFIGURE, noted=True)
        operations.add("remove", ModuleArgs, self.remove, peers=False, needs=Power.CONFIGURE, noted=True)
        operations.add("fetch", ModuleArgs, self.fetch, peers=True, needs=Power.CONFIGURE)
        for op, (model, handler) in self._everywhere().items():
            operations.add(op, model, handler, peers=True)

    def _everywhere(self) -> dict[str, tuple[type[Args], Callable[[Any], Awaitable[Any]]]]:
        """What one node asks of all nodes, itself among them."""
        return {
            "stage": (StageArgs, self.stage),
            "commit": (CommitArgs, self.commit),
            "abort": (ModuleArgs, self.abort),
            "may-remove": (ModuleArgs, self.may_remove),
            "forget": (ModuleArgs, self.forget),
        }

    async def stage(self, args: StageArgs) -> dict[str, Any]:
        """Write the files beside the present ones, compile them here, and say what a commit would change."""
        store = self._configuration.store
        digest = await asyncio.to_thread(store.stage, args.module, _decode(args.files))
        try:
            compilation = await self._configuration.compile(args.module, store.staged_directory(args.module, digest))
        except BaseException:
            await asyncio.to_thread(store.abort, args.module)
            raise
        present = self._configuration.modules.get(args.module)
        self._staged[args.module] = (digest, args.revision, compilation)
        plan = diff(present.compiled if present else None, compilation.compiled)
        refusal = self._refused(args.module, compilation.compiled)
        return {
            "refusal": refusal,
            "digest": digest,
            "revision": present.revision if present else 0,
            "findings": [*compilation.findings, *([refusal] if refusal else [])],
            "warnings": list(compilation.warnings),
            "facts": compilation.facts,
            "has_data": compilation.compiled.has_data,
            "plan": plan.model_dump(mode="json"),
            "lines": lines(plan),
        }

    def _refused(self, module: str, to_be: CompiledModule) -> str:
        """Why this node cannot commit it now; nothing when it can."""
        node, present = self._configuration.node, self._configuration.modules.get(module)
        if self._stopped(module):
            return ""
        if present is not None and present.compiled.witness_in_force != to_be.witness_in_force:
            return (
                f"module '{module}' runs on {node}, and what its nodes have promised each other would not hold under "
                f"another witness: `safekit module stop {module} --all` first"
            )
        if node in to_be.nodes:
            return ""
        return (
            f"module '{module}' runs on {node}, and would never be stopped there when {node} is none of its nodes: "
            f"`safekit module stop {module} --on {node}` first"
        )

    async def commit(self, args: CommitArgs) -> dict[str, Any]:
        staged = self._staged.pop(args.module, None)
        if staged is None or staged[0] != args.digest:
            raise PeerError(f"nothing of module '{args.module}' with digest {args.digest[:12]} is staged here")
        digest, _, compilation = staged
        if refusal := self._refused(args.module, compilation.compiled):  # it was started since it was staged
            await asyncio.to_thread(self._configuration.store.abort, args.module)
            raise RefusedError(refusal)
        await asyncio.to_thread(self._configuration.store.commit, args.module, digest, args.by)
        installed = self._configuration.remember(args.module, args.revision, digest, compilation.compiled)
        self._changed(args.module, installed.compiled)
        return {"signature": installed.signature}

    async def abort(self, args: ModuleArgs) -> None:
        self._staged.pop(args.module, None)
        await asyncio.to_thread(self._configuration.store.abort, args.module)

    async def plan(self, args: FilesArgs) -> dict[str, Any]:
        """What `apply` would do on each node. Nothing stays staged."""
        async with self._one_at_a_time:
            answers = await self._stage_all(args)
            await self._on_all("abort", {"module": args.module}, COMMIT_S)
        return {node: _plain(answer) for node, answer in answers.items()}

    async def apply(self, args: FilesArgs) -> dict[str, Any]:
        """All nodes or none."""
        async with self._one_at_a_time:
            answers = await self._stage_all(args)
            failures = {node: failure for node, answer in answers.items() if (failure := _failure(answer))}
            if failures:
                await self._on_all("abort", {"module": args.module}, COMMIT_S)
                raise _refusal(args.module, failures)
            return await self._commit_all(args, answers)

    async def _stage_all(self, args: FilesArgs) -> dict[str, Any]:
        """Each node's answer, or its exception. What the nodes are found to differ in is among its findings."""
        answers = await self._on_all("stage", {**args.model_dump(), "revision": 0}, STAGE_S)
        facts = {node: told for node, answer in answers.items() if (told := _facts_of(answer))}
        staged = self._staged.get(args.module)
        if staged is not None and len(facts) > 1:
            try:
                found = await self._configuration.confront(staged[2].compiled, facts)
            except SafekitError as error:
                found = {node: [f"the nodes could not be compared: {error}"] for node in facts}
            for node, sentences in found.items():
                answers[node]["findings"] += sentences
        return answers

    async def _commit_all(self, args: FilesArgs, answers: dict[str, Any]) -> dict[str, Any]:
        revision = 1 + max(answer["revision"] for answer in answers.values())
        order = {
            "module": args.module,
            "digest": next(iter(answers.values()))["digest"],
            "revision": revision,
            "by": args.by,
        }
        committed = await self._on_all("commit", order, COMMIT_S)
        late = {node: str(answer) for node, answer in committed.items() if isinstance(answer, Exception)}
        nodes = {node: _plain(answer) for node, answer in answers.items()}
        return {"revision": revision, "nodes": nodes, "late": [*late], "why_late": late}

    async def remove(self, args: ModuleArgs) -> dict[str, Any]:
        """Take the module off every node; each must be there and have it stopped."""
        if args.module not in self._configuration.modules:
            raise ConfigError(f"there is no module '{args.module}'", hint="`safekit module list` shows them")
        async with self._one_at_a_time:
            answers = await self._on_all("may-remove", {"module": args.module}, COMMIT_S)
            failures = {node: answer for node, answer in answers.items() if isinstance(answer, Exception)}
            if failures:
                raise _refusal(args.module, failures)
            return {n: _plain(a) for n, a in (await self._on_all("forget", {"module": args.module}, COMMIT_S)).items()}

    async def may_remove(self, args: ModuleArgs) -> None:
        if not self._stopped(args.module):
            raise RefusedError(
                f"module '{args.module}' is not stopped on {self._configuration.node}",
                hint=f"`safekit module stop {args.module} --all` first",
            )

    async def forget(self, args: ModuleArgs) -> None:
        await self.may_remove(args)
        await asyncio.to_thread(self._configuration.store.remove, args.module)
        self._configuration.forget(args.module)
        self._changed(args.module, None)

    async def fetch(self, args: ModuleArgs) -> dict[str, Any]:
        """The files of a module in force here, for a node that missed their application."""
        installed = self._configuration.modules.get(args.module)
        if installed is None:
            raise ConfigError(f"there is no module '{args.module}' here")
        files = await asyncio.to_thread(self._configuration.store.files, args.module)
        return {
            "files": {path: base64.b64encode(content).decode() for path, content in files.items()},
            "revision": installed.revision,
        }

    def heard_of(self, peer: str, module: str, signature: str) -> None:
        """A peer reports this module with this signature; fetch it when it is newer than ours."""
        revision = int(signature.partition(".")[0] or 0) if signature[:1].isdigit() else 0
        if revision > self._revision(module) and module not in self._fetching:
            self._fetching.add(module)
            task = asyncio.create_task(self._catch_up(peer, module, revision))
            task.add_done_callback(lambda _: self._fetching.discard(module))

    def _revision(self, module: str) -> int:
        ours = self._configuration.modules.get(module)
        return ours.revision if ours else 0

    async def _catch_up(self, peer: str, module: str, revision: int) -> None:
        """The commit that made it newer there may be on its way here: then there is nothing to fetch."""
        await asyncio.sleep(CATCH_UP_AFTER_S)
        if revision <= self._revision(module):
            return
        try:
            async with self._one_at_a_time:
                fetched = await self._bus.call(peer, "fetch", {"module": module}, STAGE_S)
                staged = await self.stage(
                    StageArgs(module=module, files=fetched["files"], revision=fetched["revision"])
                )
                if failure := _failure(staged):
                    await self.abort(ModuleArgs(module=module))
                    raise failure
                order = CommitArgs(
                    module=module, digest=staged["digest"], revision=fetched["revision"], by=f"from {peer}"
                )
                await self.commit(order)
            log.info("a newer configuration was fetched", module=module, peer=peer, revision=fetched["revision"])
        except (SafekitError, TimeoutError) as error:
            log.warning("a newer configuration could not be fetched", module=module, peer=peer, error=str(error))
            await asyncio.sleep(5.0)

    async def _on_all(self, op: str, args: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask every node of the cluster; the answer of each, or its exception."""
        model, here = self._everywhere()[op]
        own = self._configuration.node
        nodes = [node.name for node in self._configuration.cluster.nodes]
        work = [
            here(model.model_validate(args)) if node == own else self._bus.call(node, op, args, timeout_s)
            for node in nodes
        ]
        return dict(zip(nodes, await asyncio.gather(*work, return_exceptions=True), strict=True))


def _decode(files: dict[str, str]) -> dict[str, bytes]:
    try:
        return {path: base64.b64decode(content, validate=True) for path, content in files.items()}
    except binascii.Error:
        raise ConfigError("a file of the module arrived damaged; nothing was applied") from None


def _plain(answer: Any) -> Any:
    return {"error": str(answer)} if isinstance(answer, BaseException) else answer


def _facts_of(answer: Any) -> Facts:
    """Taken out of a node's answer to `stage`. Earlier versions tell none."""
    if isinstance(answer, BaseException):
        return {}
    try:
        return _FACTS.validate_python(answer.pop("facts", {}), strict=True)
    except ValidationError:
        return {}


def _failure(staged: Any) -> Exception | None:
    """Why a node's answer to `stage` does not let the others commit."""
    if isinstance(staged, Exception):
        return staged
    return RefusedError(staged["refusal"]) if staged["refusal"] else None


def _refusal(module: str, failures: dict[str, Exception]) -> SafekitError:
    each = "\n".join(f"{node}: {error}" for node, error in failures.items())
    kind: type[SafekitError] = ConfigError
    if all(isinstance(error, (PeerError, TimeoutError)) for error in failures.values()):
        kind = PeerError
    elif all(isinstance(error, RefusedError) for error in failures.values()):
        kind = RefusedError
    return kind(f"module '{module}' was changed on no node:\n{each}", hint="mend it, then apply again")
