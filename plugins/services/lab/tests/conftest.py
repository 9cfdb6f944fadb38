import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safekit_lab import Lab

_PATIENCE_S = 20.0
Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="session", autouse=True)
def lab_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' labs are not those of whoever works on this machine."""
    folder = tmp_path_factory.mktemp("labs")
    os.environ["SAFEKIT_LAB_DIR"] = str(folder)
    yield folder
    del os.environ["SAFEKIT_LAB_DIR"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two nodes and a client on two networks; a test leaves them running, thawed and healed."""
    with Lab.up(nodes=2, clients=1, networks=2) as lab:
        yield lab


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.01)

    return wait
