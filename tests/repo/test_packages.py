"""Every package has the same form, carries one version, declares what it imports, and escapes no gate."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import contracts
import gates
import pytest
import rules
from workspace import KINDS, ROOT, Package, distribution, is_own, packages, read_toml, root_manifest, tracked

EVERY = pytest.mark.parametrize("package", packages(), ids=lambda package: package.directory)
PLUGINS = [package for package in packages() if package.is_plugin]
EVERY_PLUGIN = pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.directory)
CORE = packages()[0]
VERSION = CORE.manifest["project"]["version"]
NAMES = {
    "checkers": "safekit-checker-{}",
    "resources": "safekit-resource-{}",
    "witnesses": "safekit-witness-{}",
}
COMES_WITH = {"pydantic": {"pydantic-core"}, "safekit-sdk": {"pydantic", "pydantic-core"}}
"""What a dependency's own interface is made of: pydantic documents both, and the SDK's models are pydantic's."""
OF_THE_SYSTEM = {"nftables"}
"""Libraries that come from the operating system's packages, not from PyPI."""


def sources(directory: Path) -> list[tuple[Path, str]]:
    return [(path, path.read_text()) for path in tracked() if path.suffix == ".py" and path.is_relative_to(directory)]


def test_every_folder_below_plugins_is_a_package() -> None:
    parts = {path.relative_to(ROOT).parts for path in tracked() if path.is_relative_to(ROOT / "plugins")}
    assert {part[1] for part in parts} <= set(KINDS)
    assert {"/".join(part[:3]) for part in parts} == {package.directory for package in PLUGINS}


@EVERY
def test_a_package_has_the_form_of_the_others(package: Package) -> None:
    project = package.manifest["project"]
    assert package.manifest["build-system"] == {"requires": ["hatchling"], "build-backend": "hatchling.build"}
    assert package.manifest["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{package.import_name}"]
    assert (project["license"], project["readme"]) == ("Apache-2.0", "README.md")
    assert project["requires-python"] == ">=3.11"
    assert project["description"]
    assert (package.path / "README.md").read_text().startswith(f"# {package.name}\n")
    assert (package.source / "__init__.py").is_file()
    assert (package.source / "py.typed").is_file()


def test_packages_of_tests_have_names_of_their_own() -> None:
    """pytest imports a folder with `__init__.py` under its own name: a second of that name breaks a run over both."""
    folders = {path.parent for path in tracked() if path.name == "__init__.py" and "tests" in path.parts}
    roots = sorted(folder.name for folder in folders if folder.parent not in folders)
    assert "tests" not in roots
    assert len(roots) == len(set(roots))


@EVERY
def test_a_package_has_tests(package: Package) -> None:
    assert any(path.name.startswith("test_") for path, _ in sources(package.path / "tests"))


@EVERY_PLUGIN
def test_a_plugin_is_named_by_its_folder(package: Package) -> None:
    _, kind, name = package.directory.split("/")
    assert package.name == NAMES.get(kind, "safekit-{}").format(name)


@EVERY
def test_a_package_has_the_version_of_all_the_others(package: Package) -> None:
    assert package.manifest["project"]["version"] == VERSION, "make bump VERSION=x.y.z"


@EVERY
def test_a_package_asks_for_the_others_in_its_own_version(package: Package) -> None:
    loose = [one for one in package.own_requirements if not one.endswith(f"=={VERSION}")]
    assert loose == [], f"make bump VERSION={VERSION}"


def test_core_says_its_version() -> None:
    assert f'__version__ = "{VERSION}"' in (CORE.source / "__init__.py").read_text()


@EVERY
def test_a_package_declares_what_it_imports(package: Package) -> None:
    declared = {distribution(one) for some in (package.requirements, *package.extras.values()) for one in some}
    declared |= {more for one in declared for more in COMES_WITH.get(one, ())}
    assert {name: where for name, where in imported(package).items() if name not in declared} == {}


@EVERY
def test_a_package_imports_what_it_declares(package: Package) -> None:
    declared = {distribution(one) for one in package.requirements if not (is_app(package) and is_own(one))}
    assert declared - set(imported(package)) == set()


def is_app(package: Package) -> bool:
    """Installing an app brings all that its module files name, which it does not import."""
    return package.directory.startswith("plugins/apps/")


def imported(package: Package) -> dict[str, str]:
    """What the source imports, with one place where it does."""
    known = packages_distributions()
    own = {one.import_name: one.name for one in packages()}
    found: dict[str, str] = {}
    for path, source in sources(package.source):
        for one in rules.imports(source):
            if one.top not in sys.stdlib_module_names | OF_THE_SYSTEM | {package.import_name}:
                name = own.get(one.top) or next(iter(known.get(one.top, [])), f"unknown:{one.top}")
                found[distribution(name)] = f"{path.relative_to(ROOT)}:{one.line}"
    return found


@EVERY
def test_the_tests_of_a_package_run_without_the_packages_that_it_does_not_need(package: Package) -> None:
    allowed = {package.import_name} | {distribution(one).replace("-", "_") for one in package.own_requirements}
    others = {one.import_name for one in packages()} - allowed
    assert [
        f"{path.relative_to(ROOT)}:{one.line}: {one.module}"
        for path, source in sources(package.path / "tests")
        for one in rules.imports(source)
        if one.top in others
    ] == []


@EVERY_PLUGIN
def test_a_plugin_needs_the_sdk_and_no_other_package_of_ours(package: Package) -> None:
    needed = {distribution(one) for one in package.requirements if is_own(one)}
    assert needed <= {"safekit-sdk"} or (is_app(package) and "safekit-sdk" in needed)


def test_no_package_escapes_uv() -> None:
    members = root_manifest()["tool"]["uv"]["workspace"]["members"]
    covered = {str(path.relative_to(ROOT)) for member in members for path in ROOT.glob(member) if path.is_dir()}
    assert {package.directory for package in packages()} <= covered


def test_no_package_escapes_the_import_contracts() -> None:
    config = contracts.config()
    names = {package.import_name for package in packages()}
    assert set(config["root_packages"]) == names
    meeting = config["contracts"][-1]["layers"]
    assert {name for layer in meeting for name in layer.split(" | ")} == names


def test_what_the_import_contracts_are_read_from_says_what_was_meant(tmp_path: Path) -> None:
    written = tmp_path / "importlinter.toml"
    written.write_text(contracts.as_toml(contracts.config()))
    assert read_toml(written)["tool"]["importlinter"] == contracts.config()


def test_no_package_escapes_mypy() -> None:
    command = next(gate.command for gate in gates.gates() if gate.name == "mypy")
    assert {f"{package.directory}/src" for package in packages()} <= set(command)
    mypy: dict[str, Any] = root_manifest()["tool"]["mypy"]
    own = {package.import_name for package in packages()}
    assert mypy["strict"] is True
    for override in mypy["overrides"]:
        assert set(override) == {"module", "ignore_missing_imports"}
        assert {module.partition(".")[0] for module in override["module"]} & own == set()


def test_no_file_escapes_ruff() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files", "."],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    python = {str(path) for path in tracked() if path.suffix == ".py"}
    assert python - set(shown.stdout.splitlines()) == set()


def test_no_file_switches_its_checks_off() -> None:
    whole_file = re.compile(r"^\s*#\s*(ruff|flake8)\s*:\s*noqa|^\s*#\s*mypy\s*:", re.MULTILINE)
    assert [str(path) for path, source in sources(ROOT) if whole_file.search(source)] == []
