"""What a stranger does: build, install into a fresh environment, look, test."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import lab_cluster
import packaging_lab
import pytest
from lab_cluster import VIP, Cluster
from packaging_lab import Environment, Wheels, typed
from workspace import ROOT, Package, distribution, is_own, packages

from safekit_lab import Lab

pytestmark = pytest.mark.system
EXAMPLE = ROOT / "docs/examples/acme-spool"
SPOOL = """
kind: mirror
pipeline: []
checkers:
  - spool: {path: /var/spool/orders, older_than: 1s, interval: 200ms, action: swap}
"""
CHECKERS = [one for one in packages() if one.directory.startswith("plugins/checkers/")]


def test_an_application_brings_what_it_needs_and_says_what_came(tmp_path: Path) -> None:
    needed = packaging_lab.needs("safekit-apache")
    wheels = Wheels(tmp_path)
    wheels.build(packaging_lab.package(name).path for name in sorted(needed))
    wheels.download("safekit-apache")
    fresh = Environment(tmp_path / "venv")
    fresh.pip("install", "--quiet", *wheels.options, "safekit-apache")
    fresh.pip("check")
    installed = fresh.installed()
    assert {name for name in installed if is_own(name)} == needed
    listed = {one["name"]: one for one in json.loads(fresh.safekit("plugins", "list", "-o", "json").stdout)}
    brought = {name for one in needed for group in packaging_lab.package(one).entry_points.values() for name in group}
    assert listed.keys() == brought
    for plugin in listed.values():
        own = packaging_lab.package(plugin["package"])
        assert plugin["version"] == own.manifest["project"]["version"] == installed[distribution(own.name)]
        assert plugin["name"] in own.entry_points[plugin["group"]]
        assert plugin["api"] == 1
        assert plugin["docs_url"] or fresh.safekit("plugins", "docs", own.name).stdout.startswith(f"# {own.name}\n")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_package_is_a_wheel_that_is_installed_with_its_needs(tmp_path: Path) -> None:
    typed(["make", "wheels"])
    built = {distribution(path.name.partition("-")[0]) for path in (ROOT / "dist").glob("*.whl")}
    assert built == {distribution(one.name) for one in packages()}
    wheels = Wheels(tmp_path)
    wheels.own.symlink_to(ROOT / "dist")
    wheels.download(*built)
    fresh = Environment(tmp_path / "venv")
    fresh.pip("install", "--quiet", *wheels.options, *built)
    fresh.pip("check")
    entries = {(group, name) for one in packages() for group, found in one.entry_points.items() for name in found}
    listed = json.loads(fresh.safekit("plugins", "list", "-o", "json").stdout)
    assert {(plugin["group"], plugin["name"]) for plugin in listed} == entries


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """The SDK, and what its test kit needs."""
    wheels = Wheels(tmp_path_factory.mktemp("kit"))
    wheels.build([packaging_lab.package("safekit-sdk").path])
    wheels.download("safekit-sdk[test]")
    return wheels


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("one", CHECKERS, ids=lambda one: one.name)
def test_the_tests_of_a_checker_pass_with_only_the_sdk_beside_it(one: Package, kit: Wheels, tmp_path: Path) -> None:
    kit.build([one.path])
    wanted = f"{one.name}[test]" if "test" in one.extras else one.name
    kit.download(wanted)
    fresh = Environment(tmp_path / "venv")
    fresh.pip("install", "--quiet", *kit.options, wanted, "safekit-sdk[test]")
    assert {name for name in fresh.installed() if is_own(name)} == {one.name, "safekit-sdk"}
    folder = packaging_lab.alone(one, tmp_path)
    said = typed([fresh.python, "-m", "pytest", "-q", "-m", "not system and not long"], cwd=folder)
    assert " passed" in said.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("one", [one for one in packages() if one.entry_points], ids=lambda one: one.name)
def test_a_package_of_ours_is_gold(one: Package) -> None:
    safekit = Path(sys.prefix) / "bin" / "safekit"
    done = typed([safekit, "plugins", "check", one.name, "--tier", "gold", "--no-run", "--source", one.path], ok=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_plugin_from_outside_is_built_judged_installed_and_causes_a_failover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / EXAMPLE.name
    shutil.copytree(EXAMPLE, source)
    wheels = Wheels(tmp_path)
    wheels.build([source, *(packaging_lab.package(name).path for name in ("safekit-sdk", "safekit"))])
    wheels.download("acme-spool[test]", "safekit", "mypy")
    with packaging_lab.visible() as place:
        fresh = Environment(place / "venv")
        fresh.pip("install", "--quiet", *wheels.options, "safekit", "acme-spool[test]", "mypy")
        said = fresh.safekit("plugins", "check", "acme-spool", "--tier", "gold", "--source", str(source), ok=False)
        assert said.returncode == 0, said.stdout
        monkeypatch.setattr(lab_cluster, "SAFEKIT", str(fresh.program("safekit")))
        with lab_cluster.cluster(2, clients=0) as made:
            for node in made.nodes:
                node.run(["mkdir", "-p", "/var/spool/orders"])
            lab_cluster.add_mirror(made, SPOOL, "orders")
            primary, other = made.roles("orders")
            primary.run(["touch", "/var/spool/orders/one"])
            made.wait(lambda: made.primary("orders") is other, "an order that nobody takes causes a fail-over")
            assert "1 files in /var/spool/orders are older than 1s" in made.safekit(primary, "why", "orders").stdout


UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
EXPOSED = {unit.name: 100 if unit.name == "safekitd.service" else 20 for unit in UNITS}
"""In tenths, the most that `systemd-analyze security` may say. safekitd has to be able to start whatever there is."""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_one_that_systemd_takes(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    (tmp_path / unit.name).write_text(text.replace("/opt/safekit/bin/", f"{sys.prefix}/bin/"))
    verified = typed(["systemd-analyze", "verify", "--man=no", tmp_path / unit.name])
    assert verified.stderr == ""
    typed(["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSED[unit.name]}", tmp_path / unit.name])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_debian_package_is_installed_used_upgraded_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = Wheels(tmp_path)
    wheels.build(one.path for one in packages())
    wheels.download(*(one.name for one in packages()))
    monkeypatch.setattr(lab_cluster, "SAFEKIT", "/usr/bin/safekit")
    with packaging_lab.visible() as place:
        first, second = (packaging_lab.debian_package(wheels, place, version) for version in ("0.1.0", "0.1.1"))
        with Lab.up(nodes=2, clients=1, disk_size_bytes=2 << 30) as lab:
            made = Cluster(lab)
            for node in made.nodes:
                node.run(["dpkg", "-i", str(first)], timeout_s=120.0)
                node.run(["systemd-analyze", "verify", "--man=no", *(f"/lib/systemd/system/{u.name}" for u in UNITS)])
            made.form()
            lab_cluster.add_apache_mirror(made)
            primary, secondary = made.roles()
            secondary.run(["dpkg", "-i", str(second)], timeout_s=120.0)
            made.roles()
            primary.run(["dpkg", "-i", str(second)], timeout_s=120.0)
            assert made.roles() == (secondary, primary)
            for node in made.nodes:
                node.run(["dpkg", "--remove", "safekit"], timeout_s=120.0)
                assert node.run(["pgrep", "-f", "/opt/safekit"], check=False).stdout == ""
                assert VIP not in node.run(["ip", "address"]).stdout
                assert node.run(["ls", "/etc/safekit"]).stdout
                node.run(["dpkg", "--purge", "safekit"], timeout_s=120.0)
                left = ["find", "/opt", "/etc", "/usr", "/lib", "/var", "/run", "-xdev", "-iname", "*safekit*"]
                assert not [path for path in node.run(left).stdout.split() if not path.startswith("/var/tmp/")]
                assert "safekit" not in node.run(["cat", "/etc/passwd", "/etc/group"]).stdout
