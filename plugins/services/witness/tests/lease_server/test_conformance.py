"""The promises of every witness, with one server and with three."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_witness import LeaseWitness
from safekit_witness.tokens import Token

from safekit_sdk.testing.conformance import WitnessConformance

from .servers import WitnessProcess, free_port, token_file


class TestOneServer(WitnessConformance):
    plugin = LeaseWitness

    @pytest.fixture
    def settings(self, one: WitnessProcess, tmp_path: Path) -> Mapping[str, Any]:
        self.path = tmp_path / "witness.token"
        return {"token": token_file(self.path, one.admit()), "lease": "1s", "timeout": "900ms"}

    async def make_unreachable(self, config: Any) -> None:
        """Its tokens lead to ports where nobody listens."""
        tokens = map(Token.parse, self.path.read_text().split())
        token_file(self.path, *(str(Token(t.address, free_port(), t.server_key, t.secret_key)) for t in tokens))


class TestThreeServers(TestOneServer):
    @pytest.fixture
    def settings(self, three: tuple[WitnessProcess, ...], tmp_path: Path) -> Mapping[str, Any]:
        self.path = tmp_path / "witness.token"
        tokens = [witness.admit() for witness in three]
        return {"token": token_file(self.path, *tokens), "lease": "1s", "timeout": "900ms"}
