"""`safekit module pack`, `unpack` and `export`: from one node's directory to another's, and nothing by the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from safekit.cli.app import build
from safekit.config.store import Store
from safekit_sdk import ConfigError, RefusedError

MODULE = {
    "module.yaml": "include: [parts/checkers.yaml]\nkind: light\n",
    "parts/checkers.yaml": "checkers:\n  - tcp: {name: ssh, port: 22, action: none}\n",
    "bin/start": "#!/bin/sh\n",
}


def run(*words: str) -> Result:
    return CliRunner().invoke(build("module"), ["module", *words])


def done(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.exception
    return result.output


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the modules' files of a node without a daemon; the module `web` lies elsewhere."""
    monkeypatch.setenv("SAFEKIT_ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("SAFEKIT_VAR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    for path, content in MODULE.items():
        file = tmp_path / "web" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path / "etc" / "modules"


def test_a_module_goes_from_one_cluster_to_another(place: Path) -> None:
    assert "release.pub" in done("keygen", "release")
    assert "signed with" in done("pack", "web", "--from", "web", "--key", "release")
    told = done("unpack", "web.tar", "--trust", "release.pub", "--name", "shop")
    assert "nothing is applied" in told
    assert "safekit plan shop" in told
    assert {path: (place / "shop" / path).read_text() for path in MODULE} == MODULE
    assert (place / "shop/bin/start").stat().st_mode & 0o111
    assert not list((place.parent.parent / "var").rglob("current"))
    done("pack", "shop", "-o", "again.tar", "--key", "release")


def test_it_is_written_over_nothing(place: Path) -> None:
    assert "not signed" in done("pack", "web", "--from", "web")
    assert isinstance(run("pack", "web", "--from", "web").exception, RefusedError)
    assert "nobody's signature" in done("unpack", "web.tar", "--unsigned")
    (place / "web/module.yaml").write_text("mine")
    assert isinstance(run("unpack", "web.tar", "--unsigned").exception, RefusedError)
    assert (place / "web/module.yaml").read_text() == "mine"
    done("unpack", "web.tar", "--unsigned", "--force")
    assert (place / "web/module.yaml").read_text() == MODULE["module.yaml"]
    assert (place / "web.unapplied/module.yaml").read_text() == "mine"


def test_what_is_refused_leaves_nothing(place: Path) -> None:
    done("keygen", "other")
    done("pack", "web", "--from", "web")
    for words in ((), ("--trust", "other.pub"), ("--unsigned", "--name", "../x")):
        assert run("unpack", "web.tar", *words).exit_code != 0
    assert isinstance(run("unpack", "web.tar", "--trust", "other.pub", "--unsigned").exception, ConfigError)
    assert not place.exists()


def test_a_module_with_a_mistake_is_not_packed(place: Path) -> None:
    Path("web/parts/checkers.yaml").write_text("checkers:\n  - tcp: {prot: 22}\n")
    assert "parts/checkers.yaml:2:" in str(run("pack", "web", "--from", "web").exception)
    assert not Path("web.tar").exists()


def test_what_is_in_force_is_printed_as_one_file(place: Path) -> None:
    store = Store(place.parent, place.parent.parent / "var")
    store.commit("web", store.stage("web", {path: content.encode() for path, content in MODULE.items()}))
    Path("one").mkdir()
    Path("one/module.yaml").write_text(done("export", "web"))
    assert "include" not in Path("one/module.yaml").read_text()
    assert "- tcp: {name: ssh, action: none, port: 22}" in done("export", "web")
    done("pack", "web", "--from", "one")
