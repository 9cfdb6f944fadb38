"""What the settings refuse, and what preflight finds on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_witness_etcd import EtcdConfig, EtcdWitness

from .authority import Authority

URL = "https://etcd1.example:2379"
SECRET = "file:/etc/safekit/etcd.password"


def read(**settings: Any) -> EtcdConfig:
    return EtcdConfig.model_validate({"endpoints": [URL], **settings})


@pytest.mark.parametrize("url", ["https://a:2379/", "http://127.0.0.1:2379", "https://[fd00::1]:2379", "https://a"])
def test_an_endpoint_is_a_url_of_scheme_host_and_port(url: str) -> None:
    assert read(endpoints=[url]).endpoints == (url.rstrip("/"),)


BAD_URLS = (
    "a:2379",
    "ftp://a",
    "https://",
    "https://a:0",
    "https://a:99999",
    "https://u:p@a",
    "https://a/x",
    "https://a b",
)


@pytest.mark.parametrize("url", [*BAD_URLS, "https://a?x=1", "https://a#x", "https://[::1", ""])
def test_what_is_no_url_of_a_member_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="endpoints"):
        read(endpoints=[url])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"endpoints": []}, "endpoints"),
        ({"endpoints": [URL, URL]}, "named twice"),
        ({"prefix": "/safekit"}, "prefix"),
        ({"lease": "500ms"}, "lease: from 1s to 1h, not 500ms"),
        ({"lease": "2h"}, "lease: from 1s to 1h"),
        ({"lease": "2s", "timeout": "2s"}, "less than the lease of 2s"),
        ({"timeout": "0s"}, "timeout: more than 0s"),
        ({"user": "a"}, "user and password go together"),
        ({"password": SECRET}, "user and password go together"),
        ({"user": "a", "password": "clear"}, "given by reference"),
        ({"user": "a", "password": SECRET, "endpoints": ["http://10.0.0.1:2379"]}, "in clear text"),
        ({"user": "a", "password": SECRET, "endpoints": ["http://etcd:2379"]}, "in clear text"),
        ({"key": "/k"}, "certificate and key go together"),
        ({"ca": "/c", "endpoints": ["http://127.0.0.1"]}, "are for https"),
    ],
)
def test_settings_that_cannot_work_or_are_not_safe_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        read(**settings)


def test_the_identifier_is_that_of_the_first_member() -> None:
    assert EtcdWitness.ident(read()) == "etcd-etcd1.example"
    assert EtcdWitness.ident(read(endpoints=["https://[fd00::1]:2379"])) == "etcd-fd00::1"
    assert EtcdWitness.ident(read(name="w")) == "w"


def found(**settings: Any) -> str:
    return "\n".join(EtcdWitness.preflight(read(**settings), "mirror"))


def test_preflight_is_content_with_files_that_are_right(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("node1")
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("x")
    assert found(ca=authority.path, certificate=certificate, key=key, user="a", password=f"file:{secret}") == ""


def test_preflight_names_each_file_that_is_missing_or_wrong(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("node1")
    _, other_key = authority.issue("node2")
    empty, gone = tmp_path / "empty", tmp_path / "gone"
    empty.touch(mode=0o600)
    assert f"in {gone} cannot be used: No such file" in found(ca=gone)
    assert f"in {empty} cannot be used" in found(ca=empty)
    assert f"{gone} cannot be read: No such file" in found(certificate=certificate, key=gone)
    assert "KEY_VALUES_MISMATCH" in found(certificate=certificate, key=other_key)
    key.chmod(0o644)
    assert f"chmod 600 {key}" in found(certificate=certificate, key=key)
    assert f"{gone} cannot be read" in found(user="a", password=f"file:{gone}")
    assert "is empty" in found(user="a", password=f"file:{empty}")
    assert "ETCD_TEST_NOT_SET is not set" in found(user="a", password="env:ETCD_TEST_NOT_SET")
