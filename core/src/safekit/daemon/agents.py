"""The operation by which a command of a package does its part on another node, and those by which a node signs what
such a command found.

A package with a command, in the group `safekit.commands`, may have a module `agent`: one JSON object in, one out. It
runs as a process of its own, and only a node of the cluster or root may ask for it."""

from __future__ import annotations

import asyncio
import base64
import json
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field

from safekit.bus import keys
from safekit.bus.messages import ErrorBody, raise_body
from safekit.config.signing import spelled
from safekit.config.timing import promises
from safekit.daemon.child import ask_child
from safekit.daemon.operations import Args, ModuleArgs, Name, NoArgs, Operations, Power
from safekit_sdk import ConfigError, PluginError

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon

COMMANDS: Final = "safekit.commands"
ANSWER_BYTES: Final = 1 << 20
AGENTS: Final = 4
"""At once."""
REPORT_CHARS: Final = 4 << 20
_PURPOSE: Final = b"safekit report 1\n"


class AgentArgs(Args):
    word: Name
    """The command's, as `rehearse`."""
    request: dict[str, Any] = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 20.0


class SignArgs(Args):
    text: Annotated[str, Field(max_length=REPORT_CHARS)]


class Agents:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._few = asyncio.Semaphore(AGENTS)

    def register(self, operations: Operations) -> None:
        operations.add("agent", AgentArgs, self.agent, peers=True, needs=Power.ROOT, noted=True)
        operations.add("promises", ModuleArgs, self.promises, peers=False, needs=Power.LOOK)
        operations.add("report-key", NoArgs, self.report_key, peers=True, needs=Power.LOOK)
        operations.add("sign-report", SignArgs, self.sign_report, peers=False, needs=Power.ROOT)

    async def agent(self, args: AgentArgs) -> Any:
        """Its result; the error that it answers with."""
        place = agent_of(args.word)
        async with self._few:
            request = json.dumps(args.request).encode()
            out = await ask_child((place,), request, time_s=args.timeout_s, limit_bytes=ANSWER_BYTES)
        try:
            answer: dict[str, Any] = json.loads(out)
            error = ErrorBody.model_validate(answer["error"]) if answer.get("error") else None
        except (ValueError, TypeError):
            raise PluginError(
                f"the agent of '{args.word}' ended without an answer", hint="see safekitd's log"
            ) from None
        if error is not None:
            raise_body(error)
        return answer.get("result")

    async def promises(self, args: ModuleArgs) -> dict[str, Any]:
        """How long things take at the most, as `plan` says it, in seconds."""
        installed = self._daemon.configuration.modules.get(args.module)
        if installed is None:
            raise ConfigError(f"there is no module '{args.module}' on this node")
        return promises(installed.compiled).model_dump(mode="json")

    async def report_key(self, args: NoArgs) -> str:
        """The public half, 32 bytes in base64."""
        del args
        return spelled((await asyncio.to_thread(self._key)).public_key())

    async def sign_report(self, args: SignArgs) -> str:
        key = await asyncio.to_thread(self._key)
        return base64.b64encode(key.sign(_PURPOSE + args.text.encode())).decode()

    def _key(self) -> Ed25519PrivateKey:
        """Made of the node's own key, so that there is no second secret to keep: whoever has one has the other."""
        secret = keys.load(self._daemon.settings.key_file).secret.encode()
        seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"safekit report signing 1").derive(secret)
        return Ed25519PrivateKey.from_private_bytes(seed)


def agent_of(word: str) -> str:
    """The module of the package that has the command; ConfigError where no package of this node has it."""
    for entry in entry_points(group=COMMANDS, name=word):
        return f"{entry.module.partition('.')[0]}.agent"
    raise ConfigError(f"this node has no command '{word}'", hint="install the same packages on all nodes")
