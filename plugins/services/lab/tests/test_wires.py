from typing import Any

import pytest
from pyroute2 import IPRoute

from safekit_lab import wires
from safekit_lab.layout import LabSpec


def test_a_cable_that_goes_with_its_namespace_while_it_is_removed_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def found_a_moment_ago(self: IPRoute, **_: Any) -> list[int]:
        return [2**31 - 1]

    monkeypatch.setattr(IPRoute, "link_lookup", found_a_moment_ago, raising=False)
    spec = LabSpec(name="cables", nodes=1, clients=0)
    wires.unplug(spec, spec.machines[0])
