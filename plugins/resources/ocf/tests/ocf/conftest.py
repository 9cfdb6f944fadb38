"""An agent, a resource that uses it, and the end of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from safekit_resource_ocf import OcfConfig, OcfResource

from safekit_sdk.testing import RecordingContext, Said, a_cgroup, a_context, watched

from .agents import DaemonAgent, make_daemon_agent

Made = Callable[..., OcfResource]


def watching(resource: OcfResource) -> AbstractAsyncContextManager[Said]:
    """A resource's watch is as a checker's."""
    return watched(cast("Any", resource))


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonAgent:
    return make_daemon_agent(tmp_path / "agent")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[RecordingContext]:
    with a_cgroup() as cgroup:
        yield a_context(tmp_path, cgroup=cgroup)


@pytest.fixture
async def make(context: RecordingContext) -> AsyncIterator[Made]:
    """Makes a resource of these settings, which is stopped by force afterwards."""
    made: list[OcfResource] = []

    def build(**settings: Any) -> OcfResource:
        made.append(OcfResource(OcfConfig.model_validate(settings), context))
        return made[-1]

    yield build
    for resource in made[:1]:
        await resource.stop(True)
