"""Real nodes, and only the commands that an operator types."""

from __future__ import annotations

from collections.abc import Iterator

import lab_cluster
import pytest
from lab_cluster import Cluster


@pytest.fixture(scope="module")
def mirror() -> Iterator[Cluster]:
    """Two nodes with a highly available Apache and a client. A test leaves it well: one PRIM, one SECOND."""
    with lab_cluster.cluster(2, clients=1) as made:
        lab_cluster.add_apache_mirror(made)
        yield made


@pytest.fixture
def pair() -> Iterator[Cluster]:
    """Two nodes that hear each other, without a module."""
    with lab_cluster.cluster(2, clients=1) as made:
        yield made
