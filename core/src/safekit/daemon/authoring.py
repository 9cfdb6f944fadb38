"""The operations behind the writing of a module file elsewhere than on this node: what the installed apps want to
know, the file that suits an answer, what is wrong with a text, and earlier versions."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from safekit.daemon.operations import Args, ModuleArgs, Name, NoArgs, Operations, Power
from safekit_sdk import ModuleKind

if TYPE_CHECKING:
    from safekit.daemon.configuration import Configuration

MAX_TEXT = 1 << 20
Option = Annotated[str, Field(max_length=64)]


class VersionArgs(Args):
    module: Name
    version: Annotated[int, Field(ge=1)]


class TextArgs(Args):
    module: Name
    text: Annotated[str, Field(max_length=MAX_TEXT)]


class FromAppArgs(Args):
    app: Name
    module: Name
    kind: ModuleKind
    vips: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64)] = ()
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    sticky: bool = False
    options: dict[Option, Annotated[str, Field(max_length=4096)]] = Field(default_factory=dict, max_length=100)


class Authoring:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._two = asyncio.Semaphore(2)
        """Each is a process that imports plugins: people who type are not to take the machine."""

    def register(self, operations: Operations) -> None:
        operations.add("apps", NoArgs, self.apps, peers=False, needs=Power.CONFIGURE)
        operations.add("module-file", FromAppArgs, self.module_file, peers=False, needs=Power.CONFIGURE)
        operations.add("validate", TextArgs, self.validate, peers=False, needs=Power.CONFIGURE)
        operations.add("versions", ModuleArgs, self.versions, peers=False, needs=Power.LOOK)
        operations.add("version-files", VersionArgs, self.version_files, peers=False, needs=Power.CONFIGURE)

    async def apps(self, args: NoArgs) -> list[dict[str, Any]]:
        """Name, summary and JSON Schema of the settings of each installed app."""
        del args
        return list((await self._asked({"question": "apps"}))["apps"])

    async def module_file(self, args: FromAppArgs) -> dict[str, Any]:
        answer = await self._asked({"question": "module-file", **args.model_dump(mode="json")})
        return {"text": answer["text"]}

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        async with self._two:
            return await self._configuration.ask_compiler(request)

    async def validate(self, args: TextArgs) -> dict[str, Any]:
        """ConfigError with file:line:column when the text is not a good module file. Nothing is kept of it."""
        async with self._two:
            with tempfile.TemporaryDirectory(prefix="safekit-validate-") as directory:
                await asyncio.to_thread((Path(directory) / "module.yaml").write_text, args.text)
                found = await self._configuration.compile(args.module, Path(directory))
        return {
            "kind": found.compiled.kind,
            "nodes": found.compiled.nodes,
            "has_data": found.compiled.has_data,
            "steps": [step.resource for step in found.compiled.steps],
            "checkers": [checker.resource for checker in found.compiled.checkers],
            "findings": list(found.findings),
            "warnings": list(found.warnings),
        }

    async def versions(self, args: ModuleArgs) -> list[dict[str, Any]]:
        """Newest first."""
        found = await asyncio.to_thread(self._configuration.store.versions, args.module)
        return [version.model_dump(mode="json") for version in found]

    async def version_files(self, args: VersionArgs) -> dict[str, str]:
        files = await asyncio.to_thread(self._configuration.store.version_files, args.module, args.version)
        return {path: base64.b64encode(content).decode() for path, content in files.items()}
