"""`safekit import`: what is printed, what is written, and what is not written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from safekit.cli.app import build
from safekit_sdk import ConfigError, RefusedError

CONF = """\
vrrp_instance web {
    state BACKUP
    interface eth0
    virtual_ipaddress {
        10.0.0.100/24
    }
    notify_master /bin/true
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keepalived.conf"
    path.write_text(CONF)
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(build("import"), ["import", *words])


def test_all_is_printed_what_asks_first(file: Path) -> None:
    done = run(str(file))
    assert done.exit_code == 0, done.exception
    first = done.output.splitlines()[1]
    assert first.split()[:4] == ["7", "lost", "notify_master", "/bin/true"]
    assert "web/module.yaml: a good module file" in done.output
    assert "needs: pip install safekit-resource-vip" in done.output
    assert "- vip: {address: 10.0.0.100/24, interface: eth0}" in done.output


def test_the_files_are_written_once_and_the_report_has_every_line(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(str(file), "--output", str(out)).exit_code == 0
    assert "vip" in (out / "web" / "module.yaml").read_text()
    lines = (out / "import-report.txt").read_text().splitlines()
    assert {int(line.split(":")[1].split("-")[0]) for line in lines} == set(range(1, 10))
    (out / "web" / "module.yaml").write_text("mine")
    refused = run(str(file), "--output", str(out))
    assert isinstance(refused.exception, RefusedError)
    assert (out / "web" / "module.yaml").read_text() == "mine"
    assert run(str(file), "--output", str(out), "--force").exit_code == 0
    assert "vip" in (out / "web" / "module.yaml").read_text()


def test_a_file_in_the_way_of_the_second_one_keeps_the_first_from_being_written(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "import-report.txt").symlink_to("/nowhere")
    assert isinstance(run(str(file), "--output", str(out)).exception, RefusedError)
    assert not (out / "web").exists()


def test_the_report_as_data(file: Path) -> None:
    found = json.loads(run(str(file), "--report", "json").stdout)
    assert (found["format"], found["mistakes"], list(found["modules"])) == ("keepalived", {}, ["web"])
    assert {finding["fate"] for finding in found["report"]} == {"carried", "implied", "lost", "bare"}


def test_a_module_has_the_name_of_the_folder_that_safekit_keeps_it_in(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "conf" / "userconfig.xml"
    path.parent.mkdir(parents=True)
    path.write_text('<safe><service mode="light"><user/></service></safe>')
    assert list(json.loads(run(str(path), "--report", "json").stdout)["modules"]) == ["shop"]
    named = run(str(path), "--report", "json", "--name", "other")
    assert list(json.loads(named.stdout)["modules"]) == ["other"]


def test_what_the_compiler_refuses_is_told_and_the_file_is_there_to_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "userconfig.xml"
    check = '<check><ping ident="a"><to addr="a b"/></ping></check>'
    path.write_text(f'<safe><service mode="light">{check}</service></safe>')
    done = run(str(path), "--output", str(tmp_path / "out"), "--name", "shop")
    assert "shop/module.yaml: not good yet: " in done.output
    assert (tmp_path / "out" / "shop" / "module.yaml").exists()


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    assert isinstance(run(str(tmp_path)).exception, ConfigError)
