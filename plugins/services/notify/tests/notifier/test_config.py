from __future__ import annotations

from pathlib import Path

import pytest
from safekit_notify.config import load

from safekit_sdk import ConfigError

GOOD = """\
quiet: 2s
destinations:
  - name: oncall
    url: "mailto://127.0.0.1:2525?from=a@example.org&to=b@example.org"
  - name: noc
    severity: alarm
    modules: [web]
    snmp: {host: 192.0.2.1, user: safekit, auth_password: authauth, privacy_password: privpriv}
"""


def written(directory: Path, text: str, mode: int = 0o640) -> Path:
    path = directory / "notify.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_good_file_is_read_and_shows_no_secret(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert [one.severity for one in config.destinations] == ["warning", "alarm"]
    assert config.quiet.seconds == 2
    assert "authauth" not in repr(config)
    assert "2525" not in repr(config)


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("quiet: 2s", "quite: 2s", "1:1", "there is no key 'quite' here"),
        ("quiet: 2s", "quiet: soon", "1:1", "not a duration"),
        ("severity: alarm", "severity: grave", "6:5", "'info', 'warning' or 'alarm'"),
        ("mailto://", "pigeon://", "4:5", "no service is known"),
        ("host: 192.0.2.1", "host: '-c'", "8:12", "pattern"),
        ("auth_password: authauth", "auth_password: short", "8:5", "at least 8"),
        ("auth_password: authauth", "auth_password: 'a\"b'", "8:44", "no quotation mark"),
        ("user: safekit, ", "inform: perhaps, ", "8:29", "boolean"),
        ("user: safekit, ", "inform: false, ", "8:5", "acknowledgement"),
        ("name: noc", "name: oncall", "2:1", "the same name"),
        ("    url:", "    #url:", "3:5", "a 'url' or 'snmp'"),
        ("[web]", "[web", "8:9", "this is not YAML"),
        ("severity: alarm", "name: noc", "6:5", "this is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str, says: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.where == f"{path}:{place}"
    assert says in caught.value.message


def test_a_file_that_others_read_or_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="others can use it"):
        load(written(tmp_path, GOOD, 0o644))
    with pytest.raises(ConfigError, match="no destinations"):
        load(written(tmp_path, "- a\n"))
    with pytest.raises(ConfigError, match="larger than"):
        load(written(tmp_path, "#" * (1 << 19)))
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load(tmp_path / "nothing")
    assert "safekit notify setup" in caught.value.hint
