"""All packages carry one version, and ask for each other in that version."""

from __future__ import annotations

import pytest
from workspace import Package, packages

EVERY = pytest.mark.parametrize("package", packages(), ids=lambda package: package.directory)
VERSION = packages()[0].manifest["project"]["version"]


@EVERY
def test_every_package_has_the_version_of_core(package: Package) -> None:
    assert package.manifest["project"]["version"] == VERSION, "make bump VERSION=x.y.z"
