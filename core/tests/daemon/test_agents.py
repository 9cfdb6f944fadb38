"""Which program stands for a command on another node."""

from __future__ import annotations

import pytest

from safekit.daemon.agents import agent_of
from safekit_sdk import ConfigError


@pytest.mark.parametrize("word", ["nothing", "os", "safekit_rehearse", "rehearse.agent"])
def test_nothing_but_the_command_of_a_package_names_a_program(word: str) -> None:
    with pytest.raises(ConfigError, match="this node has no command"):
        agent_of(word)
