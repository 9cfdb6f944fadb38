"""A secret in a module file is warned of, and so is a file of one that cannot be used on this node."""

from __future__ import annotations

from pathlib import Path

import pytest

from safekit.config.compiler import compile_module

from .kit import FILE, NODES


def warnings(text: str, node: str = "n1") -> list[str]:
    found = compile_module(f"kind: light\npipeline: [health: {{}}]\n{text}", FILE, NODES, "web", node=node)
    assert "hunter2" not in "".join(found.warnings)
    return list(found.warnings)


def http(headers: str) -> str:
    return f"checkers:\n  - http: {{name: up, url: 'http://127.0.0.1/', headers: {{{headers}}}}}\n"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("variables: {DB_PASSWORD: hunter2}\n", "3:26", "the variable 'DB_PASSWORD'"),
        ("variables: {token: 1234}\n", "3:20", "the variable 'token'"),
        ("node_variables: {n1: {API_KEY: hunter2}, n2: {API_KEY: 'file:/k'}}\n", "3:32", "the variable 'API_KEY'"),
        (http("api_key: hunter2"), "4:5", "'headers.api_key' of http.up"),
    ],
)
def test_a_secret_in_clear_is_named_with_its_place_and_not_shown(text: str, where: str, what: str) -> None:
    [warning] = warnings(text)
    assert warning.startswith(f"{FILE}:{where}: {what} looks like a secret")
    assert "file:/path" in warning


@pytest.mark.parametrize(
    "variables",
    ["DB_PASSWORD: 'file:/etc/db'", "TOKEN: ''", "PASSWORD_FILE: x", "COMPASS: north", "SECRET: true", "TOKEN: /run/t"],
)
def test_what_tells_where_a_secret_is_is_none(variables: str) -> None:
    assert warnings(f"variables: {{{variables}}}\n") == []


def test_a_file_that_others_can_read_or_that_is_missing_is_told_on_its_node(tmp_path: Path) -> None:
    file = tmp_path / "token"
    text = http(f"Authorization: 'file:{file}'")
    [missing] = warnings(text)
    assert missing == f"{FILE}:4:5: http.up: the secret file {file} cannot be read: No such file or directory"
    file.write_text("hunter2")
    file.chmod(0o640)
    [told] = warnings(text)
    assert told.endswith(f"the secret file {file} is open to others: chmod 600 {file}")
    assert warnings(text, node="") == []
    file.chmod(0o600)
    assert warnings(text) == []
