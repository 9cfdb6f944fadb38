"""One libvirtd for the tests of this package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .libvirtd import Libvirtd, libvirtd


@pytest.fixture(scope="session")
def daemon() -> Iterator[Libvirtd]:
    with libvirtd() as made:
        yield made
